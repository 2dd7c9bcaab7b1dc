"""The DAG loads fast and is up to date."""

import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest
from kedro.framework.startup import bootstrap_project

from .conftest import DAG_FILES

PROJECT = Path(__file__).resolve().parents[2]
FORBIDDEN = ["kedro", "{{ cookiecutter.python_package }}", "pandas", "sklearn", "matplotlib"]


def test_there_is_a_dag():
    assert DAG_FILES, "dags/ has no DAG of this project: run `make dag`"


def test_dag_loads_and_has_tasks_or_says_that_there_are_no_nodes_yet(dag):
    assert dag.tasks or "no nodes yet" in dag.doc_md


def test_dag_is_as_new_as_the_pipelines_and_airflow_yml(dag_file, tmp_path):
    pytest.importorskip("kedro_airflow", reason="kedro-airflow writes the DAG: run `make install`")
    bootstrap_project(PROJECT)
    preflight = import_module("{{ cookiecutter.python_package }}.airflow_dag.preflight")
    pipeline, env = preflight.written_dags(PROJECT)[dag_file]
    command = [sys.executable, "-m", "kedro", "airflow", "create", "--target-dir", str(tmp_path)]
    command += ["--pipelines", pipeline, "--env", env]
    created = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True)
    assert created.returncode == 0, created.stdout + created.stderr
    assert dag_file.read_text() == (tmp_path / dag_file.name).read_text(), (
        f"dags/{dag_file.name} is older than the pipelines or conf/: run `make dag`"
    )


def test_importing_the_dag_imports_no_project_code(dag_file, dag):
    code = "import runpy, sys; runpy.run_path(sys.argv[1]); print(*sys.modules)"
    command = [sys.executable, "-c", code, str(dag_file)]
    modules = subprocess.run(command, capture_output=True, text=True, check=True)
    imported = sorted(set(FORBIDDEN) & set(modules.stdout.split()))
    assert not imported, (
        f"importing dags/{dag_file.name} imports {imported}, which slows Airflow down every time "
        "it reads the file: import it inside the function that runs in the task"
    )
