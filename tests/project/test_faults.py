"""Faults during a run on a real Airflow: its data ends up right, at the latest once it is cleared.

FAULTS kills tasks when half of a file is on the disk. Needs root, to mount a full disk.
"""

import json
import re
import time
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.airflow_settings import of_platform
from tests.conftest import answers, edit, kedro_new, run
from tests.processes import kill
from tests.project.test_airflow import of_airflow, of_kedro, version_of
from tests.standins.restarting_airflow import RestartingAirflow

pytestmark = pytest.mark.slow

FAULTS = '''
"""Kill or hold the tasks that save a dataset once half of its file is on the disk.

A DAG run's parameter `faults` says what to do, and how many times: {dataset: [kill, 1]}. A number
instead of `kill` is the seconds to hold.
"""

import json
import os
import signal
import time
from pathlib import Path

from fsspec.implementations.local import LocalFileOpener
from kedro.framework.hooks import hook_impl

NOTES = Path(__file__).resolve().parents[2] / "faults"


class Faults:
    @hook_impl
    def after_context_created(self, context):
        self.faults = context.params.get("faults", {})
        self.folder = NOTES / context.params.get("airflow", {}).get("folder", "kedro")

    @hook_impl
    def before_dataset_saved(self, dataset_name):
        kind, times = self.faults.get(dataset_name, ("", 0))
        self.folder.mkdir(parents=True, exist_ok=True)
        note = self.folder / f"{dataset_name}.{len(list(self.folder.glob(f'{dataset_name}.*')))}"
        if note.suffix == f".{times}":
            return
        write = LocalFileOpener.write

        def write_half(file, data):
            half = len(data) // 2
            if half < 4:  # a signature at the beginning
                return write(file, data)
            LocalFileOpener.write = write
            write(file, data[:half])
            file.flush()
            os.fsync(file.f.fileno())
            found = {"path": file.path, "size": os.path.getsize(file.path), "pid": os.getpid()}
            note.with_suffix(".part").write_text(json.dumps(found))
            note.with_suffix(".part").rename(note)
            if kind == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            time.sleep(kind)
            return half + write(file, data[half:])

        LocalFileOpener.write = write_half
'''
COUNT = """
from kedro.pipeline import Node, Pipeline


def count(features) -> int:
    return len(features)


def create_pipeline(**kwargs) -> Pipeline:
    return Pipeline([Node(count, "test_features", "test_count", name="count_node")])
"""
CATALOG = """
test_features:
  type: pandas.CSVDataset
  filepath: ${_run}/test_features.csv
  load_args: {float_precision: round_trip}
  save_args: {index: false}
"""
TASKS = """
  tasks:
    count_node: {trigger_rule: all_done, retries: 0}
"""
ENVIRONMENT = {  # how soon the tasks of a dead scheduler run again, and all others
    "AIRFLOW__SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": "5",
    "AIRFLOW__SCHEDULER__SCHEDULER_HEALTH_CHECK_THRESHOLD": "20",
    "AIRFLOW__SCHEDULER__SCHEDULER_HEARTBEAT_SEC": "1",
    "AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "0.2",
}


@pytest.fixture(scope="module")
def project(template, tmp_path_factory):
    folder = tmp_path_factory.mktemp("project")
    kedro_new(template, "astro-airflow-iris", folder, answers("Other"))
    project = folder / "other"
    settings = project / "conf" / "airflow" / "airflow.yml"
    edit(settings, "retries: 2", "retries: 1")
    edit(settings, "retry_delay: 1m", "retry_delay: 1s")
    edit(settings, "\n  params:", "\n  params:\n    faults:")
    settings.write_text(settings.read_text() + TASKS)
    package = project / "src" / "other"
    (package / "faults.py").write_text(FAULTS)
    (package / "pipelines" / "counting").mkdir()
    (package / "pipelines" / "counting" / "__init__.py").write_text(COUNT)
    for path, text in {
        package / "settings.py": "\nfrom .faults import Faults\n\nHOOKS = (Faults(),)\n",
        project / "conf" / "airflow" / "catalog.yml": CATALOG,
        project / "conf" / "base" / "parameters.yml": "faults: {}\n",
    }.items():
        with path.open("a") as file:
            file.write(text)
    run("make", "dag", cwd=project)
    run("kedro", "run", "--env=airflow", cwd=project)
    return project


@pytest.fixture(scope="module")
def environment(project, postgresql):
    plugins = {"AIRFLOW__CORE__PLUGINS_FOLDER": str(project / "plugins")}
    return of_platform("astro") | ENVIRONMENT | plugins | postgresql.database()


@pytest.fixture(scope="module")
def airflow(project, environment, tmp_path_factory):
    home = tmp_path_factory.mktemp("airflow")
    with RestartingAirflow(home, project / "dags", environment) as airflow:
        yield airflow


@pytest.fixture(scope="module")
def expected(project, tmp_path_factory):
    return of_kedro(project, tmp_path_factory.mktemp("kedro"), "")


def notes(project, run_id):
    """The notes of a run's faults: which file each left, and how large it was."""
    paths = sorted((project / "faults" / quote(run_id, safe="")).glob("*.[0-9]"))
    return {path.name: json.loads(path.read_text()) for path in paths}


def wait_for_note(project, run_id, name):
    deadline = time.monotonic() + 300
    while name not in notes(project, run_id):
        assert time.monotonic() < deadline, f"{name} was not saved"
        time.sleep(0.1)


def place(note):
    """The dataset whose file was half-written."""
    return Path(re.sub(r"\.unfinished-[^/]+/", "", note["path"]))


def unfinished(project):
    return list(project.glob("data/0[2-8]*/**/.unfinished-*/*"))


def tries(airflow, run_id):
    """The states of the run's tasks, and how many times they were tried."""
    tasks = airflow.tasks("other", run_id)
    return {task["task_id"]: (task["state"], task["try_number"]) for task in tasks}


def wait(airflow, run_id):
    """Wait for the run, and print why it ended as it did: pytest shows that on a failure.

    Returns:
        The state of the run.
    """
    try:
        return airflow.wait("other", run_id)
    finally:
        print(run_id, tries(airflow, run_id))
        for log in sorted(airflow.home.glob(f"logs/dag_id=other/run_id={run_id}/*/*.log")):
            print(f"\n{log.parent.name}/{log.name}")
            print(*(line[:2000] for line in log.read_text().splitlines()[-3:]), sep="\n")
        print("\nThe errors of the servers")
        for line in (airflow.home / "standalone.log").read_text().splitlines():
            if re.search(r"\[(error|critical) |Error: ", line):
                print(line[:500])


def clear(airflow, run_id, **tasks):
    """Clear what failed, or these tasks, and wait for the run."""
    body = {"dry_run": False, "dag_run_id": run_id, "only_failed": True, **tasks}
    airflow.api.post("/api/v2/dags/other/clearTaskInstances", json=body).raise_for_status()
    return wait(airflow, run_id)


def test_run_survives_clearing_a_task_and_has_one_version_in_all_tasks(airflow, project):
    run_id = airflow.trigger("other")
    assert wait(airflow, run_id) == "success"
    before = of_airflow(project, run_id)
    tasks = {"task_ids": ["train_model_node"], "include_downstream": True, "only_failed": False}
    assert clear(airflow, run_id, **tasks) == "success"
    assert tries(airflow, run_id) == {
        "split_data_node": ("success", 1),
        "count_node": ("success", 1),
        "train_model_node": ("success", 2),
        "predict_node": ("success", 2),
        "report_accuracy_node": ("success", 2),
    }
    assert of_airflow(project, run_id) == before
    saved = list(project.glob(f"data/0*/*/{version_of(run_id)}/*.*"))
    assert len(saved) > 1 and len({path.parent.name for path in saved}) == 1


def test_run_succeeds_although_each_task_is_killed_while_it_saves(airflow, project, expected):
    saved = ("train_features", "model", "predictions", "metrics")
    run_id = airflow.trigger("other", {"faults": {name: ["kill", 1] for name in saved}})
    assert wait(airflow, run_id) == "success"
    assert tries(airflow, run_id) == {
        "split_data_node": ("success", 2),
        "count_node": ("success", 1),
        "train_model_node": ("success", 2),
        "predict_node": ("success", 2),
        "report_accuracy_node": ("success", 2),
    }
    found = notes(project, run_id)
    assert found.keys() == {f"{name}.0" for name in saved}
    assert all(0 < note["size"] < place(note).stat().st_size for note in found.values())
    assert of_airflow(project, run_id) == expected
    assert unfinished(project) == []


@pytest.mark.parametrize(
    "dataset, task", [("test_features", "split_data_node"), ("model", "train_model_node")]
)
def test_half_written_file_of_a_failed_run_is_never_read(airflow, project, expected, dataset, task):
    run_id = airflow.trigger("other", {"faults": {dataset: ["kill", 2]}})
    assert wait(airflow, run_id) == "failed"
    assert tries(airflow, run_id)[task] == ("failed", 2)
    found = notes(project, run_id)
    last = found[f"{dataset}.1"]
    assert found.keys() == {f"{dataset}.0", f"{dataset}.1"}
    assert last["size"] in [path.stat().st_size for path in unfinished(project)]
    assert not place(last).exists()

    counted = ("failed" if dataset == "test_features" else "success", 1)
    assert tries(airflow, run_id)["count_node"] == counted  # its trigger rule always starts it
    run("kedro", "run", "--env=airflow", "--from-nodes=predict_node", cwd=project)
    newest = max(project.glob("data/08_reporting/metrics.json/*/metrics.json"))
    assert json.loads(newest.read_text()) == expected[0]

    assert clear(airflow, run_id) == "success"
    assert of_airflow(project, run_id) == expected
    assert unfinished(project) == []


@pytest.mark.parametrize(
    "folder, free, dataset, task",
    [
        ("02_intermediate", 4096, "train_features", "split_data_node"),
        ("06_models", 0, "model", "train_model_node"),
    ],
)
def test_run_on_a_full_disk_fails_with_one_error_and_succeeds_once_there_is_space(
    airflow, project, expected, folder, free, dataset, task
):
    disk = project / "data" / folder
    run("mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", disk, cwd=project)
    try:
        (disk / "ballast").write_bytes(bytes(65536 - free))
        run_id = airflow.trigger("other")
        assert wait(airflow, run_id) == "failed"
        assert tries(airflow, run_id)[task] == ("failed", 2)
        log = airflow.log("other", run_id, {"task_id": task, "try_number": 2})
        records = [json.loads(line) for line in log.splitlines()]
        [error] = [record for record in records if record["level"] in ("error", "critical")]
        message = error["error_detail"][0]["exc_value"]
        assert message.startswith(f"{dataset}: Failed while saving data to dataset ")
        assert message.endswith("[Errno 28] No space left on device")
        assert unfinished(project) == []

        run("mount", "-o", "remount,size=1m", disk, cwd=project)
        assert clear(airflow, run_id) == "success"
        assert of_airflow(project, run_id) == expected
        assert unfinished(project) == []
    finally:
        run("umount", "--lazy", disk, cwd=project)


def test_runs_outlive_twenty_seconds_without_the_api_server_and_use_no_retry(
    airflow, project, expected
):
    """By default what a task asks for fails after at most 15 s."""
    during = airflow.trigger("other", {"faults": {"test_features": [5, 1]}})
    throughout = airflow.trigger("other", {"faults": {"test_features": [30, 1]}})
    for run_id in (during, throughout):
        wait_for_note(project, run_id, "test_features.0")
    with airflow.without("api-server"):
        time.sleep(20)
    for run_id in (during, throughout):
        assert wait(airflow, run_id) == "success"
        assert set(tries(airflow, run_id).values()) == {("success", 1)}
        assert of_airflow(project, run_id) == expected


def test_run_goes_on_after_a_restart_of_the_database(airflow, project, expected, postgresql):
    run_id = airflow.trigger("other", {"faults": {"test_features": [10, 1]}})
    wait_for_note(project, run_id, "test_features.0")
    postgresql.restart()
    airflow.wait_until_healthy()
    assert wait(airflow, run_id) == "success"
    assert set(tries(airflow, run_id).values()) == {("success", 1)}
    assert of_airflow(project, run_id) == expected


def test_run_survives_the_death_of_its_scheduler_and_then_of_all_of_airflow(
    airflow, environment, project, expected
):
    """The last test: Airflow is dead after it."""
    faults = {name: [300, 1] for name in ("test_features", "model")}
    run_id = airflow.trigger("other", {"faults": faults})
    wait_for_note(project, run_id, "test_features.0")
    airflow.kill("scheduler")
    wait_for_note(project, run_id, "model.0")
    kill(airflow.process)
    model = notes(project, run_id)["model.0"]
    assert [path.stat().st_size for path in unfinished(project)] == [model["size"]]
    assert not place(model).exists()
    with RestartingAirflow(airflow.home, project / "dags", environment) as airflow:
        assert wait(airflow, run_id) == "success"
        tried = tries(airflow, run_id)
        assert tried["split_data_node"] == tried["train_model_node"] == ("success", 2)
    assert of_airflow(project, run_id) == expected
    assert unfinished(project) == []
