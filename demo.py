"""Create a project from a starter and run its DAG on a real local Airflow: `make demo`."""

import argparse
import json
import os
import shutil
import signal
import sys
from contextlib import ExitStack
from pathlib import Path

import compose
from local_airflow import BIN, SERVERS, LocalAirflow, start
from steps import run, say, step

ROOT = Path(__file__).resolve().parent
STARTERS = [name for name, (example, _) in compose.STARTERS.items() if example != "empty"]


def create_project(starter: str, folder: Path, name: str) -> Path:
    """Create a project with `kedro new` in a folder, from a starter of this checkout."""
    command = [BIN / "kedro", "new", f"--starter={ROOT}", f"--directory=starters/{starter}"]
    environment = {**os.environ, "DO_NOT_TRACK": "1"}
    title = f"Create a project from {starter}"
    printed = run(title, *command, f"--name={name}", cwd=folder, env=environment)
    project = folder / name.lower()
    if not list(project.glob("dags/*_dag.py")):
        sys.exit(printed)
    return project


def main() -> int:
    """Run the demo, and return 0 if the DAG run succeeds."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("starter", choices=STARTERS)
    starter = parser.parse_args().starter
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))

    folder = ROOT / "build" / "demo" / starter
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    project = create_project(starter, folder, "Demo")
    requirements = ["--python", sys.executable, "--requirement", project / "requirements.txt"]
    run("Install what its nodes need", BIN / "uv", "pip", "install", "--quiet", *requirements)
    settings = {
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(project / "plugins"),
        "KEDRO_RUNNER": "executor",  # there is no cluster for pods
    }
    command = start([server for server in SERVERS if "triggerer" not in server])  # nothing defers
    places = (project / ".airflow", project / "dags", project)
    airflow = LocalAirflow(*places, environment=settings, command=command)
    with ExitStack() as stack:
        with step("Start Airflow"):
            stack.enter_context(airflow)
        with step("Run the DAG"):
            run_id = airflow.trigger("demo")
            state = airflow.wait("demo", run_id, report=report)
        tasks = airflow.tasks("demo", run_id)
        failed = [airflow.log("demo", run_id, task) for task in tasks if task["state"] == "failed"]
        seconds = airflow.get(f"dags/demo/dagRuns/{run_id}")["duration"]

    say(f"\nDAG run {run_id}: {state} in {seconds:.1f} s")
    for log in failed:
        print(log, file=sys.stderr)
    if state != "success":
        return 1

    [metrics] = project.glob("data/08_reporting/metrics.json/*/metrics.json")
    say(str(metrics.relative_to(project)))
    for name, value in json.loads(metrics.read_text()).items():
        say(f"  {name:<20}{value:>10.4g}")
    say(
        "\nThe same project with Airflow's UI:\n"
        f"  . {BIN.relative_to(ROOT)}/activate && make -C {project.relative_to(ROOT)} airflow"
    )
    return 0


def report(task: dict) -> None:
    """Show how a task ended."""
    say(f"  {task['state']:<9}{task['task_id']:<33}{task['duration'] or 0:6.1f} s")


if __name__ == "__main__":
    sys.exit(main())
