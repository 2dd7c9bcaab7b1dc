"""On a real Airflow: form, credentials, assets, and the removal of intermediate data."""

import hashlib
import json
import pickle
import shutil
import sqlite3
import time

import httpx
import pandas as pd
import pytest

from local_airflow import LocalAirflow
from tests.conftest import answers, kedro_new, run
from tests.processes import listening

pytestmark = pytest.mark.slow
SECRET = "top-secret.db"
FIELDS = """
    model_options.random_state:
    label:
"""
CREDENTIALS = """
warehouse:
  con: ${airflow.connection:warehouse,url}
"""
CATALOG = """
iris:
  type: pandas.SQLTableDataset
  table_name: iris
  credentials: warehouse
echo:
  type: json.JSONDataset
  filepath: data/08_reporting/echo.json
"""
ECHO = """
from kedro.pipeline import Node, Pipeline


def echo(label, parameters):
    return {"label": label, **parameters}


def create_pipeline(**kwargs) -> Pipeline:
    return Pipeline([Node(echo, ["params:label", "parameters"], "echo", name="echo_node")])
"""
LEAK = "${airflow.connection:warehouse,url} ${airflow.variable:token} ${globals:storage}"
LISTENER = """
from airflow.sdk import DAG, Asset, task

with DAG("listener", schedule=[Asset("other.model")]):

    @task
    def listen(triggering_asset_events):
        print(triggering_asset_events)

    listen()
"""


@pytest.fixture(scope="module")
def project(template, tmp_path_factory):
    folder = tmp_path_factory.mktemp("project")
    kedro_new(template, "astro-airflow-iris", folder, answers("Other"))
    project = folder / "other"
    settings = project / "conf" / "airflow" / "airflow.yml"
    settings.write_text(
        settings.read_text()
        .replace("keep_intermediate: true", "keep_intermediate: false")
        .replace("\n  params:", "\n  params:" + FIELDS.rstrip())
        .replace("schedule: null", 'schedule: "@daily"\n  end_date: 2024-02-01')
    )
    (project / "dags" / "listener.py").write_text(LISTENER)
    echo = project / "src" / "other" / "pipelines" / "echo"
    echo.mkdir()
    (echo / "__init__.py").write_text("from .pipeline import create_pipeline")
    (echo / "pipeline.py").write_text(ECHO)
    with (project / "conf" / "base" / "parameters.yml").open("a") as parameters:
        parameters.write("label: none\n")
    run("make", "dag", cwd=project)
    raw = pd.read_csv(project / "data" / "01_raw" / "iris.csv")
    with sqlite3.connect(project / "data" / SECRET) as warehouse:
        raw.to_sql("iris", warehouse, index=False)
    conf = project / "conf" / "airflow"
    (conf / "credentials.yml").write_text(CREDENTIALS)
    (conf / "catalog.yml").write_text((conf / "catalog.yml").read_text() + CATALOG)
    return project


@pytest.fixture(scope="module")
def airflow(project, postgresql, tmp_path_factory):
    home = tmp_path_factory.mktemp("airflow")
    plugins = {"AIRFLOW__CORE__PLUGINS_FOLDER": str(project / "plugins")}
    environment = plugins | postgresql.database()
    with LocalAirflow(home, project / "dags", environment=environment) as airflow:
        extra = json.dumps({"url": f"sqlite:///{project / 'data' / SECRET}"})
        body = {"connection_id": "warehouse", "conn_type": "generic", "extra": extra}
        airflow.api.post("/api/v2/connections", json=body).raise_for_status()
        body = {"key": "token", "value": SECRET}
        airflow.api.post("/api/v2/variables", json=body).raise_for_status()
        yield airflow


def metrics(project):
    paths = project.glob("data/08_reporting/metrics.json/*/metrics.json")
    return {path.parent.name: json.loads(path.read_text()) for path in paths}


def test_only_the_api_server_listens_and_only_to_this_machine(airflow):
    assert listening(airflow.process) == {("127.0.0.1", httpx.URL(airflow.url).port)}


def test_form_and_credentials_reach_the_run_and_its_asset_triggers_another_dag(airflow, project):
    airflow.trigger("listener")  # unpauses it; its own run does not count
    run_id = airflow.trigger("other", {"model_options.test_size": 0.4})
    assert airflow.wait("other", run_id) == "success"
    [(version, found)] = metrics(project).items()
    run("kedro", "run", "--params=model_options.test_size=0.4", cwd=project)
    [expected] = [value for name, value in metrics(project).items() if name != version]
    assert found == expected
    logs = [airflow.log("other", run_id, task) for task in airflow.tasks("other", run_id)]
    assert any("Loading data from iris (SQLTableDataset)" in log for log in logs)
    assert [log for log in logs if SECRET in log] == []

    with pytest.raises(httpx.HTTPStatusError, match="400"):
        airflow.trigger("other", {"model_options.test_size": 0.9})

    deadline = time.monotonic() + 60
    heard = []
    while not heard and time.monotonic() < deadline:
        time.sleep(1)
        runs = airflow.get("dags/listener/dagRuns")["dag_runs"]
        heard = [found for found in runs if found["run_type"] == "asset_triggered"]
    assert airflow.wait("listener", heard[0]["dag_run_id"]) == "success"

    intermediate = project / "data" / "02_intermediate"
    assert not intermediate.exists() or list(intermediate.iterdir()) == []


def test_values_of_a_run_cannot_read_secrets(airflow, project):
    run_id = airflow.trigger("other", {"label": LEAK})
    assert airflow.wait("other", run_id) == "success"
    [echo] = project.glob("data/08_reporting/echo.json")
    found = json.loads(echo.read_text())
    assert found["label"] == LEAK and SECRET not in echo.read_text()


def test_conf_outside_the_form_is_refused_before_any_node_runs(airflow):
    run_id = airflow.trigger("other", {"model_options": {"features": [LEAK]}})
    assert airflow.wait("other", run_id) == "failed"
    tasks = airflow.tasks("other", run_id)
    assert {task["state"] for task in tasks} == {"failed", "upstream_failed"}
    [failed, *_] = [task for task in tasks if task["state"] == "failed"]
    assert failed["try_number"] == 1
    log = airflow.log("other", run_id, failed)
    assert "This run's conf has 'model_options', which is not a field of the DAG's form" in log


def test_tasks_are_shown_in_groups_with_their_documentation(airflow):
    tasks = {task["task_id"]: task for task in airflow.get("dags/other/tasks")["tasks"]}
    assert "Fit the species to the measurements." in tasks["train_model_node"]["doc_md"]
    assert "- inputs: `train_features`" in tasks["train_model_node"]["doc_md"]
    details = airflow.get("dags/other/details")
    assert "\n- split_data_node: " in details["doc_md"]
    assert details["params"]["model_options.test_size"]["schema"]["maximum"] == 0.5
    shown = airflow.api.get("/ui/structure/structure_data", params={"dag_id": "other"})
    groups = [node for node in shown.raise_for_status().json()["nodes"] if node.get("children")]
    assert [(group["id"], len(group["children"])) for group in groups] == [("data_science", 3)]


def outputs(project, version):
    """What a run left under its version: the metrics and the model's coefficients."""
    [metrics] = project.glob(f"data/08_reporting/metrics.json/{version}/metrics.json")
    [model] = project.glob(f"data/06_models/model.pickle/{version}/model.pickle")
    return json.loads(metrics.read_text()), pickle.loads(model.read_bytes()).coef_.tolist()


def version_of(run_id):
    """A pattern of the run's version; the time of the run comes first."""
    return f"*-{hashlib.sha256(run_id.encode()).hexdigest()[:8]}"


def of_airflow(project, run_id):
    return outputs(project, version_of(run_id))


def of_kedro(project, folder, params):
    """What `kedro run` with these parameters leaves, in a copy of the project."""
    ignore = shutil.ignore_patterns("0[2-8]*", ".airflow")
    copy = shutil.copytree(project, folder / f"{len(list(folder.iterdir()))}", ignore=ignore)
    command = ["kedro", "run"] + ([f"--params={params}"] if params else [])
    run(*command, cwd=copy)
    return outputs(copy, "*")


def test_concurrent_runs_and_a_backfill_equal_kedro_runs_with_their_parameters(
    airflow, project, tmp_path
):
    seeds = (1, 2, 3)
    runs = [airflow.trigger("other", {"model_options.random_state": seed}) for seed in seeds]
    body = {"dag_id": "other", "from_date": "2024-01-01", "to_date": "2024-01-10"}
    body |= {"dag_run_conf": {}, "max_active_runs": 3, "reprocess_behavior": "none"}
    airflow.api.post("/api/v2/backfills", json=body).raise_for_status()
    assert [airflow.wait("other", run_id) for run_id in runs] == ["success"] * 3
    found = [of_airflow(project, run_id) for run_id in runs]
    assert found == [
        of_kedro(project, tmp_path, f"model_options.random_state={seed}") for seed in seeds
    ]
    assert len({str(outputs) for outputs in found}) == 3

    intervals = []
    deadline = time.monotonic() + 300
    while len(intervals) < 10 and time.monotonic() < deadline:
        time.sleep(1)
        listed = airflow.get("dags/other/dagRuns?run_type=backfill&limit=100")["dag_runs"]
        intervals = [found["dag_run_id"] for found in listed]
    assert [airflow.wait("other", run_id) for run_id in intervals] == ["success"] * 10
    expected = of_kedro(project, tmp_path, "")
    assert [of_airflow(project, run_id) for run_id in intervals] == [expected] * 10
