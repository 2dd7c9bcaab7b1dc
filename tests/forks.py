"""Python scripts that start instantly, in forks of a process with their imports.

Scripts that these start, such as our hooks, are forks as well.
"""

import json
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.conftest import BIN, ENVIRONMENT

SERVER = """
import atexit, gc, importlib, json, os, runpy, subprocess, sys, traceback

def become(arguments, folder, environment):
    sys.argv = arguments
    if environment is not None:
        os.environ.clear()
        os.environ.update(environment)
    os.chdir(folder or ".")
    sys.path.insert(0, os.path.dirname(os.path.abspath(sys.argv[0])))
    try:
        runpy.run_path(sys.argv[0], run_name="__main__")
        code = 0
    except SystemExit as exit:
        code = exit.code or 0
        if isinstance(code, str):
            print(code, file=sys.stderr)
            code = 1
    except BaseException:
        traceback.print_exc()
        code = 1
    atexit._run_exitfuncs()
    sys.stdout.flush()
    os._exit(code)  # a normal exit would touch, and so copy, all of the memory

class Popen(subprocess.Popen):
    def _execute_child(self, args, executable, preexec, close, kept, folder, environment, *more):
        pipes = {*more[3:9]} != {-1}
        if args[0] == sys.executable and str(args[1]).endswith(".py") and not pipes:
            sys.stdout.flush()
            self.pid = os.fork()
            if self.pid == 0:
                atexit._clear()  # what ends with the other script
                become([*map(str, args[1:])], folder, environment)
            self._child_created = True
        else:
            own = (args, executable, preexec, close, kept, folder, environment, *more)
            super()._execute_child(*own)

sys.path.remove("")  # a script does not import from the working directory
for module in sys.argv[1:]:
    importlib.import_module(module)
gc.collect()
gc.freeze()  # or the collector would copy the memory that the forks share
subprocess.Popen = Popen
for line in sys.stdin:
    if os.fork() == 0:
        arguments, folder, environment, *streams = json.loads(line)
        for number, path in enumerate(streams):
            os.dup2(os.open(path, os.O_RDWR), number)
        become(arguments, folder, environment)
    print(os.waitstatus_to_exitcode(os.wait()[1]), flush=True)
"""


class Forks:
    """A Python process, as a context manager, that runs scripts in forks of itself.

    Args:
        modules: what it imports first.
        bin: the folder of its Python and of the scripts.
    """

    def __init__(self, *modules: str, bin: Path = BIN) -> None:
        self.bin = bin
        self.command = [bin / "python", "-c", SERVER, *modules]

    def __enter__(self) -> "Forks":
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        self.server = subprocess.Popen(self.command, text=True, env=ENVIRONMENT, **pipes)
        return self

    def __exit__(self, *_: object) -> None:
        self.server.communicate()

    def run(
        self,
        *command: object,
        cwd: Path,
        check: bool = True,
        env: Mapping[str, str] = ENVIRONMENT,
        input: str = "",
    ) -> subprocess.CompletedProcess:
        """Run a script, given as a path or a command's name, like `conftest.run`."""
        script, *arguments = map(str, command)
        command = [script if "/" in script else str(self.bin / script), *arguments]
        with tempfile.TemporaryDirectory() as folder:
            stdin, stdout, stderr = streams = [Path(folder, f"{number}") for number in range(3)]
            stdin.write_text(input)
            stdout.touch()
            stderr.touch()
            request = [command, str(cwd), dict(env), *map(str, streams)]
            print(json.dumps(request), file=self.server.stdin, flush=True)
            code = int(self.server.stdout.readline())
            printed = stdout.read_text(), stderr.read_text()
        if check and code:
            pytest.fail("\n".join([" ".join(command), *printed]))
        return subprocess.CompletedProcess(command, code, *printed)
