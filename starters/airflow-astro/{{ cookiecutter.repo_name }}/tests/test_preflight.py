"""The project would work under Airflow, and no secret leaves this machine, as `make check` says."""

import warnings
from importlib import import_module
from pathlib import Path

import pytest
from kedro.framework.startup import bootstrap_project

PROJECT = Path(__file__).resolve().parents[1]


def test_project_would_work_under_airflow():
    pytest.importorskip("kedro_airflow", reason="kedro-airflow writes the DAG: run `make install`")
    bootstrap_project(PROJECT)
    preflight = import_module("{{ cookiecutter.python_package }}.airflow_dag.preflight")
    found = preflight.findings(PROJECT)
    for finding in found:
        if finding.level == "warning":
            warnings.warn(str(finding), stacklevel=1)
    errors = [str(finding) for finding in found if finding.level == "error"]
    assert not errors, "\n".join(errors)
