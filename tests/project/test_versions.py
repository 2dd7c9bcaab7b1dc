"""All tasks of a DAG run read that run's versions, and can save them again."""

import json
import sys

import pytest

from tests.conftest import ENVIRONMENT, answers, edit, kedro_new, run

pytestmark = pytest.mark.slow
RUN_TASKS = """
import runpy, sys
from datetime import datetime, timezone
from types import SimpleNamespace

dag = runpy.run_path(sys.argv[1])["dag"]
done = set()
while len(done) < len(dag.tasks):
    for task in dag.tasks:
        if task.task_id not in done and task.upstream_task_ids <= done:
            run_after = datetime(2024, 1, 31, tzinfo=timezone.utc)
            dag_run = SimpleNamespace(run_id="manual__1", run_after=run_after)
            task.execute({"dag_run": dag_run, "params": {}})
            done.add(task.task_id)
"""


@pytest.fixture(scope="module")
def project(template, tmp_path_factory):
    """A project with a newer run, whose model cannot be read."""
    folder = tmp_path_factory.mktemp("project")
    kedro_new(template, "astro-airflow-iris", folder, answers())
    project = folder / "space-flights"
    newer = project / "data/06_models/model.pickle/2099-01-01T00.00.00.000000Z-0/model.pickle"
    newer.parent.mkdir(parents=True)
    newer.write_text("half-written")
    return project


def run_dag(project, **options):
    environment = ENVIRONMENT | {"AIRFLOW_HOME": str(project / ".airflow")}
    dag = project / "dags" / "space_flights_airflow_dag.py"
    return run(sys.executable, "-c", RUN_TASKS, dag, cwd=project.parent, env=environment, **options)


def test_run_reads_and_replaces_its_own_version_although_there_is_a_newer_one(project):
    for _ in range(2):
        run_dag(project)
        [metrics] = project.glob("data/08_reporting/metrics.json/*/metrics.json")
        assert metrics.parent.name.startswith("2024-01-31T00.00.00.000000Z-")
        assert json.loads(metrics.read_text())["accuracy"] > 0.9


def test_grouped_nodes_read_the_version_they_have_just_saved(project):
    run("kedro", "airflow", "create", "--params=group_by=pipeline", cwd=project)
    run_dag(project)
    assert len(list(project.glob("data/06_models/model.pickle/*"))) == 2


def test_half_saved_version_is_removed_and_a_retry_saves_it(project):
    nodes = project / "src" / "space_flights" / "pipelines" / "data_science" / "nodes.py"
    edit(nodes, '{"accuracy": accuracy}', '{"accuracy": accuracy, "unknown": object()}')
    assert "not JSON serializable" in run_dag(project, check=False).stderr
    assert list(project.glob("data/08_reporting/metrics.json/*/*")) == []

    edit(nodes, ', "unknown": object()', "")
    run_dag(project)
    [path] = project.glob("data/08_reporting/metrics.json/*/*")
    assert json.loads(path.read_text())["accuracy"] > 0.9
    assert list(project.glob("data/02_intermediate/**/*unfinished*")) == []


def test_relative_paths_in_a_task_start_in_the_projects_folder(project):
    nodes = project / "src" / "space_flights" / "pipelines" / "data_science" / "nodes.py"
    edit(nodes, '{"accuracy": accuracy}', '{"folder": __import__("os").getcwd()}')
    run_dag(project)
    [path] = project.glob("data/08_reporting/metrics.json/*/*")
    assert json.loads(path.read_text()) == {"folder": str(project)}
