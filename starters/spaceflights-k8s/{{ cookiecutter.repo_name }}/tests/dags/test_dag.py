"""The DAG loads, is up to date, and its tasks can pass their data on."""

import subprocess
import sys
import warnings
from importlib import import_module
from pathlib import Path

import pytest
from kedro.io import MemoryDataset

from .conftest import DAG_FILES

PROJECT = Path(__file__).resolve().parents[2]
FORBIDDEN = ["kedro", "{{ cookiecutter.python_package }}", "pandas", "sklearn", "matplotlib"]


def test_there_is_a_dag():
    assert DAG_FILES, "dags/ has no DAG of this project: run `make dag`"


def test_dag_loads_and_has_tasks_or_says_that_there_are_no_nodes_yet(dag):
    assert dag.tasks or "no nodes yet" in dag.doc_md


def test_dag_is_as_new_as_the_pipelines_and_airflow_yml(dag_file, dag, tmp_path):
    pytest.importorskip("kedro_airflow", reason="kedro-airflow writes the DAG: run `make install`")
    command = [sys.executable, "-m", "kedro", "airflow", "create", "--target-dir", str(tmp_path)]
    command += ["--pipelines", dag.kedro.pipeline, "--env", dag.kedro.env]
    created = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True)
    assert created.returncode == 0, created.stdout + created.stderr
    assert dag_file.read_text() == (tmp_path / dag_file.name).read_text(), (
        f"dags/{dag_file.name} is older than the pipelines or conf/airflow/airflow.yml: "
        "run `make dag`"
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


def test_datasets_passed_between_tasks_are_persisted(dag, load_catalog):
    catalog = load_catalog(dag.kedro.env)
    writer = {name: task for task in dag.tasks for node in task.nodes for name in node.outputs}
    passed_on = {
        name
        for task in dag.tasks
        for node in task.nodes
        for name in node.inputs
        if writer.get(name, task) is not task
    }
    lost = [
        name
        for name in sorted(passed_on)
        if name not in catalog or isinstance(catalog.get(name), MemoryDataset)
    ]
    assert not lost, (
        f"tasks pass on datasets that are not persisted: {lost}. Add entries or a factory to "
        "conf/airflow/catalog.yml"
    )
    storage = import_module("{{ cookiecutter.python_package }}_airflow.storage")
    found = {name: storage.output(catalog.get(name), "", own=False) for name in sorted(passed_on)}
    if halves := [name for name, output in found.items() if not output]:
        warnings.warn(f"a killed task may leave half of what it saves to {halves}", stacklevel=1)
