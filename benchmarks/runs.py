"""Time runs of spaceflights on a real Airflow, with our DAG and kedro-airflow's: `make bench`.

One project and two Airflows, one with the project's plugins (scheduler, LocalExecutor with four
processes, SQLite); one run at a time, alternating, after a round that is not counted. A Kedro hook
records when each node starts.
"""

import json
import shutil
import statistics
import sys
import tempfile
import time
from datetime import datetime
from pathlib import Path

from rich.console import Console
from rich.table import Table
from tools import KEDRO, ROOT, SPACEFLIGHTS, TEMPLATE, print_ratios, run

sys.path.insert(0, str(ROOT))
from local_airflow import LocalAirflow  # noqa: E402

ROUNDS = 5
STARTS = "node_starts.jsonl"

SETTINGS = """
from .stopwatch import Stopwatch
HOOKS = (Stopwatch(),)
"""
STOPWATCH = f"""
import json
import time
from pathlib import Path

from kedro.framework.hooks import hook_impl

class Stopwatch:
    @hook_impl
    def before_node_run(self, node):
        with Path({STARTS!r}).open("a") as starts:
            starts.write(json.dumps([node.name, time.time()]) + "\\n")
"""
EMPTY = """
from airflow.sdk import DAG, task

@task
def nothing():
    pass

with DAG("empty"):
    tasks = {{name: nothing.override(task_id=name)() for name in {names}}}
    for first, second in {edges}:
        tasks[first] >> tasks[second]
"""
# The runs: the DAG, and whether it runs on the Airflow with the project's plugins.
INCUMBENT, NODES = "kedro-airflow's DAG", "our DAG, one task per node"
RUNS = {
    INCUMBENT: ("incumbent", False),
    NODES: ("bench", True),
    "our DAG, one task per pipeline": ("bench-grouped", True),
    "our DAG, one task per node, no plugins": ("bench", False),
    "kedro-airflow's DAG, our plugins": ("incumbent", True),
    "the same graph with empty tasks": ("empty", False),
}
KEDRO_RUN = "one kedro run"


def create_project(folder: Path) -> Path:
    """Create the project and its DAGs: incumbent, bench, bench-grouped, empty."""
    run(KEDRO, "new", "--name=Bench", *SPACEFLIGHTS, cwd=folder)
    project = folder / "bench"
    conf, package = project / "conf", project / "src" / "bench"
    (package / "stopwatch.py").write_text(STOPWATCH)
    with (package / "settings.py").open("a") as settings:
        settings.write(SETTINGS)

    shutil.copytree(conf / "airflow", conf / "grouped")
    settings = conf / "grouped" / "airflow.yml"
    settings.write_text(settings.read_text().replace("# group_by: pipeline", "group_by: pipeline"))
    run(KEDRO, "airflow", "create", cwd=project)
    (project / "dags" / "bench_airflow_dag.py").rename(project / "dags" / "bench.py")
    run(KEDRO, "airflow", "create", "--env=grouped", cwd=project)
    (project / "dags" / "bench_grouped_dag.py").rename(project / "dags" / "grouped.py")
    template = ("--target-dir=incumbent", f"--jinja-file={TEMPLATE}")
    run(KEDRO, "airflow", "create", *template, cwd=project)
    [written] = (project / "incumbent").glob("*.py")
    incumbent = written.read_text().replace('dag_id="bench"', 'dag_id="incumbent"')
    (project / "dags" / "incumbent.py").write_text(incumbent)
    return project


def empty_dag(airflow: LocalAirflow) -> str:
    """The source of a DAG with our tasks and edges, but empty tasks."""
    tasks = airflow.get("dags/bench/tasks")["tasks"]
    names = [task["task_id"] for task in tasks]
    edges = [(task["task_id"], other) for task in tasks for other in task["downstream_task_ids"]]
    return EMPTY.format(names=names, edges=edges)


def run_dag(airflow: LocalAirflow, dag_id: str, project: Path) -> tuple[float, dict[str, float]]:
    """Run a DAG.

    Returns:
        The duration of the DAG run, and for each node the time from its task's start to its own.
    """
    starts = project / STARTS
    starts.write_text("")
    run_id = airflow.trigger(dag_id)
    state = airflow.wait(dag_id, run_id)
    assert state == "success", f"{dag_id} failed: see {airflow.home}/logs"
    begun = {
        task["task_id"].replace("-", "_"): datetime.fromisoformat(task["start_date"]).timestamp()
        for task in airflow.tasks(dag_id, run_id)
    }
    nodes = dict(json.loads(line) for line in starts.read_text().splitlines())
    delays = {name: moment - begun[name] for name, moment in nodes.items() if name in begun}
    return airflow.get(f"dags/{dag_id}/dagRuns/{run_id}")["duration"], delays


def kedro_run(project: Path) -> float:
    """Time one `kedro run` with the environment airflow, in seconds."""
    start = time.perf_counter()
    run(KEDRO, "run", "--env=airflow", cwd=project)
    return time.perf_counter() - start


def measure(project: Path, home: Path, rounds: int) -> tuple[dict, dict]:
    """Run everything in turn, ``rounds`` times after a warm-up.

    Returns:
        The durations of each of RUNS, and for each the delays of each node, in seconds.
    """
    durations = {name: [] for name in (*RUNS, KEDRO_RUN)}
    delays = {name: {} for name in RUNS}
    environment = {
        "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "3600",
        "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "10",
        "AIRFLOW__CORE__PARALLELISM": "4",
        "DO_NOT_TRACK": "1",
        "PYTHONPATH": str(project / "src"),
    }
    plugins = {"AIRFLOW__CORE__PLUGINS_FOLDER": str(project / "plugins")}
    dags = project / "dags"
    with (
        LocalAirflow(home / "plain", dags, project, environment) as plain,
        LocalAirflow(home / "ours", dags, project, environment | plugins) as ours,
    ):
        ours.wait("bench", ours.trigger("bench"))
        (dags / "empty.py").write_text(empty_dag(ours))
        for number in range(rounds + 1):
            for name, (dag_id, with_plugins) in RUNS.items():
                print(f"\r{number}/{rounds} {name:<45}", end="", file=sys.stderr, flush=True)
                duration, found = run_dag(ours if with_plugins else plain, dag_id, project)
                if number:
                    durations[name].append(duration)
                    for node, delay in found.items():
                        delays[name].setdefault(node, []).append(delay)
            duration = kedro_run(project)
            durations[KEDRO_RUN] += [duration] if number else []
    print(file=sys.stderr)
    return durations, delays


def main() -> None:
    """Measure, and print tables of medians and ratios."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        project = create_project(Path(folder))
        durations, delays = measure(project, Path(folder), ROUNDS)

    print_ratios("A run of spaceflights, from start to end", durations)
    table = Table(title="From the start of a task to the start of its node")
    table.add_column("node")
    for column in ("kedro-airflow s", "ours s", "ratio"):
        table.add_column(column, justify="right")
    for node, found in delays[INCUMBENT].items():
        theirs, ours = statistics.median(found), statistics.median(delays[NODES][node])
        table.add_row(node, f"{theirs:.2f}", f"{ours:.2f}", f"{ours / theirs:.2f}")
    Console().print(table)


if __name__ == "__main__":
    main()
