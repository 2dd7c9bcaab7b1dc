"""A project of each starter, installed as its README says."""

import shutil
from functools import cache

import pytest

from compose import STARTERS
from tests.conftest import EMPTY, ENVIRONMENT, answers, kedro_new, run, venv
from tests.forks import Forks


@pytest.fixture(scope="session")
def create(template, tmp_path_factory):
    """A function that creates a project of a starter, once, and what `make install` installs."""

    @cache
    def create_project(starter):
        folder = tmp_path_factory.mktemp(starter)
        kedro_new(template, starter, folder, answers())
        project = folder / "space-flights"
        if starter in EMPTY:
            return project, create_project(EMPTY[starter])[1]
        tools = project / "requirements-dev.txt"
        return project, venv(folder / "venv", project, "--requirement", tools)

    return create_project


@pytest.fixture(scope="session", params=[name for name in STARTERS if name not in EMPTY])
def created(request, create):
    """A project, and its own environment, which an empty one shares with an example."""
    return create(request.param)


@pytest.fixture
def project(created, tmp_path):
    """A fresh copy of the project."""
    return shutil.copytree(created[0], tmp_path / "space-flights")


@pytest.fixture
def environment(created, project):
    """The variables of a shell with the project's environment."""
    path = f"{created[1]}:{ENVIRONMENT['PATH']}"
    environment = ENVIRONMENT | {"PATH": path, "AIRFLOW_HOME": str(project / ".airflow")}
    environment.pop("KEDRO_LOGGING_CONFIG")
    return environment


@pytest.fixture
def command(environment, project):
    """Run a command from the project's environment in the project."""

    def run_in_project(*words, check=True, **more):
        return run(*words, cwd=project, check=check, env=environment | more)

    return run_in_project


@pytest.fixture(scope="session")
def started(created):
    """Kedro of the project's environment, imported with its plugins."""
    modules = ["kedro.framework.cli.cli", "kedro_airflow.plugin", "pandas", "sklearn"]
    with Forks(*modules, bin=created[1]) as forks:
        yield forks


@pytest.fixture
def kedro(started, environment, project):
    """Run a command of Kedro like `command`, without the seconds that Kedro takes to start."""

    def run_in_project(*words, check=True):
        return started.run("kedro", *words, cwd=project, check=check, env=environment)

    return run_in_project
