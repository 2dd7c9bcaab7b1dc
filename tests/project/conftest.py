"""A project of each starter, installed as its README says."""

import shutil
from functools import cache

import pytest

from compose import STARTERS
from tests.conftest import EMPTY, ENVIRONMENT, answers, kedro_new, run, venv


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
def command(created, project):
    """Run a command from the project's environment in the project."""
    path = f"{created[1]}:{ENVIRONMENT['PATH']}"

    def run_in_project(*words, check=True, **environment):
        environment = (
            ENVIRONMENT | {"PATH": path, "AIRFLOW_HOME": str(project / ".airflow")} | environment
        )
        environment.pop("KEDRO_LOGGING_CONFIG")
        return run(*words, cwd=project, check=check, env=environment)

    return run_in_project
