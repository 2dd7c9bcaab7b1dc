"""Take parts of Airflow away while 50 runs are under way, and count what is lost.

    python benchmarks/faults.py [defaults|astro|mwaa|k8s] [FAULT ...]

The limits are Airflow's defaults or those of a platform's project. Scheduler, with LocalExecutor,
DAG processor and API server start again when they end, on a real PostgreSQL. Half of the runs are
in a task when the fault begins, the others start then. All faults take an hour. Needs PostgreSQL,
and root to mount a full disk.
"""

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path

import httpx
from rich.console import Console
from rich.table import Table
from tools import ROOT

sys.path.insert(0, str(ROOT))
from local_airflow import LocalAirflow  # noqa: E402
from tests.airflow_settings import of_platform  # noqa: E402
from tests.standins.restarting_airflow import SERVERS, RestartingAirflow  # noqa: E402
from tests.standins.servers import PostgreSQL  # noqa: E402

RUNS = 50
DAG = """
import time
from datetime import timedelta

from airflow.sdk import DAG, task


@task
def short():
    pass


@task
def long(params):
    time.sleep(params["seconds"])


default_args = {"retries": 2, "retry_delay": timedelta(minutes=1)}  # as in airflow.yml
with DAG("faults", default_args=default_args, params={"seconds": 1}, max_active_runs=RUNS):
    short() >> long()
"""


def without(server: str, seconds: int) -> Callable[[RestartingAirflow, PostgreSQL], None]:
    """Take a server away for some seconds."""

    def fault(airflow: RestartingAirflow, database: PostgreSQL) -> None:
        with airflow.without(server):
            time.sleep(seconds)

    return fault


def restarted(*servers: str) -> Callable[[RestartingAirflow, PostgreSQL], None]:
    """Kill servers with all that they have started; they start again."""
    return lambda airflow, database: airflow.kill(*servers)


def without_database(seconds: int) -> Callable[[RestartingAirflow, PostgreSQL], None]:
    """Stop the database, and start it again after some seconds."""
    return lambda airflow, database: database.restart(seconds)


def full_disk_of_logs(airflow: RestartingAirflow, database: PostgreSQL) -> None:
    """Leave no space for new logs for half a minute."""
    logs = airflow.home / "logs"
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", logs], check=True)
    with suppress(OSError), (logs / "ballast").open("wb") as ballast:
        while True:
            ballast.write(bytes(4096))
            ballast.flush()
    time.sleep(30)
    subprocess.run(["umount", "--lazy", logs], check=True)


SETTINGS = {
    "AIRFLOW__CORE__PARALLELISM": str(RUNS),
    "AIRFLOW__CORE__MAX_ACTIVE_TASKS_PER_DAG": str(RUNS),
    "AIRFLOW__CORE__LAZY_LOAD_PLUGINS": "True",
    "AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL": "5",  # Airflow's default
}
# What happens, and how many seconds the first tasks have been running before, and run after it.
FAULTS = {
    "no API server for 5 minutes": (without("api-server", 300), 0, 360),
    "the same, after 7 minutes": (without("api-server", 300), 400, 360),
    "no DAG processor for 5 minutes": (without("dag-processor", 300), 0, 360),
    "database restarted": (without_database(0), 0, 60),
    "no database for 1 minute": (without_database(60), 0, 120),
    "no database for 5 minutes": (without_database(300), 0, 360),
    "scheduler killed, with its tasks": (restarted("scheduler"), 0, 60),
    "all servers killed": (restarted(*SERVERS), 0, 60),
    "no space for logs": (full_disk_of_logs, 0, 60),
}


def measure(platform: str, name: str) -> tuple[int, int, int]:
    """Count lost runs, and retries since the fault, and the seconds until all runs have ended."""
    fault, before, longest = FAULTS[name]
    settings = {} if platform == "defaults" else of_platform(platform)
    half = RUNS // 2
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        (folder / "dags").mkdir()
        (folder / "dags" / "faults.py").write_text(DAG.replace("RUNS", str(RUNS)))
        database = stack.enter_context(PostgreSQL())
        settings |= SETTINGS | database.database()
        airflow = RestartingAirflow(folder / "airflow", folder / "dags", settings)
        airflow.api.timeout = None  # it may be busy
        stack.enter_context(airflow)
        for number in range(half):
            trigger(airflow, before + longest * (number + 1) // half)
        while sum(task["task_id"] == "long" for task in started(airflow)) < half:
            time.sleep(1)
        time.sleep(before)
        for _ in range(RUNS - half):
            trigger(airflow, 1)
        earlier = retries(airflow)
        begin = time.monotonic()
        fault(airflow, database)
        airflow.wait_until_healthy(seconds=600)
        while {"queued", "running"} & set(states(airflow)):
            time.sleep(5)
        took = time.monotonic() - begin
        lost = RUNS - states(airflow).count("success")
        return lost, retries(airflow) - earlier, round(took)


def trigger(airflow: LocalAirflow, seconds: int) -> None:
    """Start a run; an API server that is busy with 25 tasks may need some attempts."""
    while True:
        with suppress(httpx.HTTPStatusError):
            airflow.trigger("faults", {"seconds": seconds})
            return


def started(airflow: LocalAirflow) -> list[dict]:
    tasks = airflow.get("dags/faults/dagRuns/~/taskInstances?limit=1000")["task_instances"]
    return [task for task in tasks if task["start_date"]]


def retries(airflow: LocalAirflow) -> int:
    return sum(task["try_number"] - 1 for task in started(airflow))


def states(airflow: LocalAirflow) -> list[str]:
    return [run["state"] for run in airflow.get(f"dags/faults/dagRuns?limit={RUNS}")["dag_runs"]]


def main() -> None:
    platform, *names = sys.argv[1:] or ["astro"]
    table = Table(title=f"{RUNS} runs of two tasks, settings: {platform}")
    table.add_column("fault")
    for column in ("runs lost", "retries", "s to the end"):
        table.add_column(column, justify="right")
    for name in names or FAULTS:
        figures = measure(platform, name)
        table.add_row(name, *map(str, figures))
        print(platform, name, *figures, flush=True)
    Console().print(table)


if __name__ == "__main__":
    main()
