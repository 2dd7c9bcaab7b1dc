"""On a real Airflow: the trigger form, assets, and the removal of intermediate data."""

import json
import time

import httpx
import pytest

import demo
from tests.conftest import answers, kedro_new, run

pytestmark = pytest.mark.slow
SETTINGS = """
  keep_intermediate: false
  params:
    split.test_size: {maximum: 0.5}
"""
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
        settings.read_text().replace("\n  keep_intermediate: true", SETTINGS.rstrip() + "  #")
    )
    (project / "dags" / "listener.py").write_text(LISTENER)
    run("make", "dag", cwd=project)
    return project


@pytest.fixture(scope="module")
def airflow(project, tmp_path_factory):
    with demo.LocalAirflow(tmp_path_factory.mktemp("airflow"), project / "dags") as airflow:
        yield airflow


def metrics(project):
    paths = project.glob("data/08_reporting/metrics.json/*/metrics.json")
    return {path.parent.name: json.loads(path.read_text()) for path in paths}


def test_form_reaches_the_run_is_validated_and_the_asset_triggers_another_dag(airflow, project):
    airflow.trigger("listener")  # unpauses it; its own run does not count
    run_id = airflow.trigger("other", {"split.test_size": 0.4})
    assert airflow.wait("other", run_id) == "success"
    [(version, found)] = metrics(project).items()
    run("kedro", "run", "--params=split.test_size=0.4", cwd=project)
    [expected] = [value for name, value in metrics(project).items() if name != version]
    assert found == expected

    with pytest.raises(httpx.HTTPStatusError, match="400"):
        airflow.trigger("other", {"split.test_size": 0.9})

    deadline = time.monotonic() + 60
    heard = []
    while not heard and time.monotonic() < deadline:
        time.sleep(1)
        runs = airflow.get("dags/listener/dagRuns")["dag_runs"]
        heard = [found for found in runs if found["run_type"] == "asset_triggered"]
    assert airflow.wait("listener", heard[0]["dag_run_id"]) == "success"

    intermediate = project / "data" / "02_intermediate"
    assert not intermediate.exists() or list(intermediate.iterdir()) == []


def test_tasks_are_shown_in_groups_with_their_documentation(airflow):
    tasks = {task["task_id"]: task for task in airflow.get("dags/other/tasks")["tasks"]}
    assert "Fit the species to the measurements." in tasks["train_model_node"]["doc_md"]
    assert "- inputs: `train_features`" in tasks["train_model_node"]["doc_md"]
    details = airflow.get("dags/other/details")
    assert "| split_data_node |" in details["doc_md"]
    assert details["params"]["split.test_size"]["schema"]["maximum"] == 0.5
    shown = airflow.api.get("/ui/structure/structure_data", params={"dag_id": "other"})
    groups = [node for node in shown.raise_for_status().json()["nodes"] if node.get("children")]
    assert [(group["id"], len(group["children"])) for group in groups] == [("data_science", 3)]
