"""A project of each starter, installed as its README says."""

import shutil

import pytest

from compose import STARTERS
from tests.conftest import ENVIRONMENT, answers, kedro_new, run, venv


@pytest.fixture(scope="session", params=STARTERS)
def created(request, template, tmp_path_factory):
    """A project, and its own environment with what `make install` installs."""
    folder = tmp_path_factory.mktemp(request.param)
    kedro_new(template, request.param, folder, answers())
    project = folder / "space-flights"
    tools = project / "requirements-dev.txt"
    return project, venv(folder / "venv", project, "--requirement", tools)


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
