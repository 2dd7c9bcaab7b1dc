"""Write the new project's Airflow DAG, with `kedro airflow create` in this process.

Runs in the new project's folder. An existing DAG stays as it is. Whatever goes wrong, the project
stays: a message says which commands write the DAG later.
"""

import ast
import gc
import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import io
import logging
import os
import shlex
import shutil
import sys
import types
import warnings
from contextlib import redirect_stdout, suppress
from pathlib import Path

ENV = "airflow"
LATER = "In the project, run `make install` and `make dag`."


class StandIn(types.ModuleType):
    """Stands in for a library, and for everything in it, while the DAG is written.

    A DAG contains only names of nodes and datasets: the libraries that the nodes compute with need
    not be installed where the project is created, and importing them would take seconds.
    """

    __path__: list[str] = []

    def __getattr__(self, name: str) -> "StandIn":
        if name.startswith("__"):
            raise AttributeError(name)
        return StandIn(name)

    def __call__(self, *args: object, **kwargs: object) -> object:
        decorated = len(args) == 1 and isinstance(args[0], types.FunctionType)
        return args[0] if decorated else self

    def __or__(self, other: object) -> "StandIn":
        return self

    __ror__ = __getitem__ = __or__

    def __mro_entries__(self, bases: tuple[type, ...]) -> tuple[type, ...]:
        return ()


class StandInFinder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Imports stand-ins for the given top-level packages."""

    def __init__(self, packages: set[str]) -> None:
        self.packages = packages

    def find_spec(
        self, fullname: str, path: object = None, target: object = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname.partition(".")[0] in self.packages:
            return importlib.machinery.ModuleSpec(fullname, self, is_package=True)
        return None

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> StandIn:
        return StandIn(spec.name)

    def exec_module(self, module: types.ModuleType) -> None:
        """Run nothing: a stand-in has no code."""


def imported_packages(source: Path) -> set[str]:
    """Find the top-level packages that the Python files in ``source`` import."""
    packages = set()
    for file in source.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                packages |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
                packages.add(node.module.partition(".")[0])
    return packages


def write_dag(project: Path) -> None:
    """Run `kedro airflow create` with stand-ins for the libraries of the project's nodes."""
    [package] = (project / "src").iterdir()
    imported = imported_packages(package / "pipelines")
    libraries = imported - sys.stdlib_module_names - {"kedro", package.name}
    sys.meta_path.insert(0, StandInFinder(libraries | {"requests"}))  # no network for plugins

    from kedro.framework.startup import bootstrap_project

    metadata = bootstrap_project(project)
    create = importlib.import_module(f"{package.name}.airflow_dag.create").create
    with redirect_stdout(io.StringIO()):
        create.main([], obj=metadata, standalone_mode=False)


def next_steps(project: Path) -> str:
    """Say where the DAG is and how to run it, seen from where the generator was started."""
    folder = project
    with suppress(KeyError, ValueError):
        folder = project.relative_to(os.environ["PWD"])
    [dag] = project.glob(f"dags/*_{ENV}_dag.py")
    dag_id = dag.name.removesuffix(f"_{ENV}_dag.py")
    return "\n".join(
        (
            f"The Airflow DAG is {folder / 'dags' / dag.name}. Next, in a virtual environment:",
            f"  cd {shlex.quote(str(folder))}",
            "  make install   # the project, its tools, and Airflow",
            f"  make airflow   # then open http://localhost:8080 and trigger {dag_id}",
        )
    )


def main() -> None:
    project = Path.cwd()
    os.environ["DO_NOT_TRACK"] = "1"
    sys.dont_write_bytecode = True
    gc.disable()  # saves a tenth of the time; the process ends soon
    logging.disable()
    warnings.simplefilter("ignore")
    if any(project.glob(f"dags/*_{ENV}*_dag.py")):
        print("The DAG in dags/ stays as it is. `make dag` writes it again.")
    elif not all(importlib.util.find_spec(name) for name in ("kedro", "kedro_airflow")):
        print(
            "The DAG has not been written yet: kedro and kedro-airflow are not installed here. "
            f"{LATER}"
        )
    else:
        try:
            write_dag(project)
            print(next_steps(project))
        except (Exception, SystemExit) as error:
            print(f"The DAG has not been written yet: {type(error).__name__}: {error}. {LATER}")
    for cache in list(project.rglob("__pycache__")):
        shutil.rmtree(cache, ignore_errors=True)


if __name__ == "__main__":
    main()
