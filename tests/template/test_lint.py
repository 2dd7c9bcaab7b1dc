"""Linters and type checkers find nothing, neither in the repository nor in its templates."""

import pytest

from tests.conftest import ENVIRONMENT, ROOT, run
from tests.linked import FOLDER


@pytest.mark.parametrize("command", ["ruff check", "ruff format --check", "mypy"])
def test_nothing_is_found(command):
    run(*command.split(), cwd=ROOT)


@pytest.mark.slow
def test_engine_and_airflow_dag_are_strictly_typed():
    engine = ["freight_airflow", "freight.airflow_dag", "freight.airflow_credentials"]
    options = ["--config-file=", "--strict", "--ignore-missing-imports"]
    packages = [option for name in engine for option in ("-p", name)]
    environment = ENVIRONMENT | {"MYPYPATH": FOLDER.name}
    run("mypy", *options, *packages, cwd=FOLDER.name, env=environment)
