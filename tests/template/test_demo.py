"""`make demo` runs each starter's DAG on a real Airflow: scheduler, LocalExecutor, SQLite."""

import json
import re
import shutil
import sys
from pathlib import Path

import pytest

import demo
from tests.conftest import ROOT, answers, kedro_new, metrics, run

pytestmark = pytest.mark.slow


def processes_with(text: str) -> list[str]:
    """The command lines of running processes with this string in their environment."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if text.encode() in (process / "environ").read_bytes():
                found.append((process / "cmdline").read_text().replace("\0", " "))
        except OSError:
            continue
    return found


@pytest.fixture(params=demo.STARTERS)
def starter(request):
    return request.param


@pytest.fixture(scope="module")
def demonstrated():
    """Run the demo once per starter; return its output and the project it left."""

    def demonstrate(starter):
        if starter not in done:
            done[starter] = run("make", "demo", f"STARTER={starter}", cwd=ROOT).stdout
        return done[starter], ROOT / "build" / "demo" / starter / "demo"

    done = {}
    return demonstrate


def test_demo_shows_every_task_and_the_metrics_of_the_run(demonstrated, starter):
    output, project = demonstrated(starter)
    tasks = {"astro-airflow-iris": 4, "spaceflights-k8s": 3}.get(starter, 9)
    assert output.count("\n  success  ") == tasks
    for name, value in metrics(project).items():
        assert f"\n  {name:<20}{value:>10.4g}\n" in output
    assert f"make -C {project.relative_to(ROOT)} airflow" in output


def test_demo_says_when_each_step_starts_and_how_long_it_took(demonstrated, starter):
    output, _ = demonstrated(starter)
    started = re.findall(r"(?m)^(\w.+) \.\.\.$", output)
    ended = re.findall(r"(?m)^(\w[^:\n]+?) +\d+\.\d s$", output)
    assert started == ended
    assert started[-4:] == [  # after the tools, if make has to install them
        f"Create a project from {starter}",
        "Install what its nodes need",
        "Start Airflow",
        "Run the DAG",
    ]


def test_demo_leaves_no_process_behind(demonstrated, starter):
    _, project = demonstrated(starter)
    assert processes_with(str(project)) == []


def test_metrics_of_airflow_equal_those_of_kedro_run(demonstrated, starter, tmp_path):
    _, project = demonstrated(starter)
    copy = shutil.copytree(project, tmp_path / "demo", ignore=shutil.ignore_patterns("0[2-8]*"))
    run("kedro", "run", cwd=copy)
    assert metrics(copy) == metrics(project)


def test_intermediate_data_has_a_folder_for_the_run(demonstrated, starter):
    _, project = demonstrated(starter)
    [folder] = (project / "data" / "02_intermediate").iterdir()
    assert folder.name.startswith("manual__") and any(folder.iterdir())


def test_task_logs_have_one_line_per_record_with_its_logger(demonstrated, starter):
    _, project = demonstrated(starter)
    nodes = 3 if starter == "spaceflights-k8s" else 1  # in a task
    logs = list((project / ".airflow" / "logs").glob("dag_id=*/run_id=*/task_id=*/attempt=1.log"))
    for log in logs:
        records = [json.loads(line) for line in log.read_text().splitlines()]
        assert [record["event"] for record in records if "\n" in record["event"]] == []
        assert {record["level"] for record in records} == {"info"}
        loggers = [record["logger"] for record in records]
        assert "kedro.pipeline.node" in loggers and "task.stdout" not in loggers
        assert loggers.count("kedro.pipeline.node") == nodes
    assert len(logs) * nodes in (4, 9)


def test_demo_exits_non_zero_when_the_run_fails(template, tmp_path, monkeypatch, capfd):
    def create_failing_project(starter, _, name):
        kedro_new(template, starter, tmp_path, answers(name))
        dag = tmp_path / "demo" / "dags" / "demo_airflow_dag.py"
        dag.write_text(
            dag.read_text()
            .replace("'retries': 2", "'retries': 0")
            .replace('"retries": 2', '"retries": 0')
        )
        (tmp_path / "demo" / "data" / "01_raw" / "iris.csv").unlink()
        return tmp_path / "demo"

    monkeypatch.setattr(demo, "create_project", create_failing_project)
    monkeypatch.setattr(sys, "argv", ["demo.py", "astro-airflow-iris"])
    assert demo.main() == 1
    printed = capfd.readouterr()
    assert "failed" in printed.out and "iris.csv" in printed.err
    assert processes_with(str(tmp_path / "demo")) == []


def test_demo_refuses_an_unknown_starter():
    done = run("make", "demo", "STARTER=unknown", cwd=ROOT, check=False)
    assert done.returncode != 0 and "unknown" in done.stdout + done.stderr
