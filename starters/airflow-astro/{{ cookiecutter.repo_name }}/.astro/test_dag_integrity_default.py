"""Run by `astro dev parse` and `astro deploy`: every DAG loads, and no secret leaves."""

from pathlib import Path

import pytest

import check_secrets

try:
    from airflow.dag_processing.dagbag import DagBag
except ImportError:  # before Airflow 3.2
    from airflow.models.dagbag import DagBag

PROJECT = Path(__file__).resolve().parents[1]
EXCEPTIONS = (PROJECT / ".astro" / "dag_integrity_exceptions.txt").read_text().splitlines()


def test_dags_load():
    errors = {
        file: error
        for file, error in DagBag(PROJECT / "dags").import_errors.items()
        if Path(file).resolve().relative_to(PROJECT).as_posix() not in EXCEPTIONS
    }
    if errors:
        pytest.fail("\n".join(f"{file}: {error}" for file, error in errors.items()))


def test_no_secret_leaves_this_machine():
    check_secrets.main()
