"""Create a project from a starter and run its DAG on a real local Airflow: `make demo`."""

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

from rich.console import Console
from rich.table import Table

import compose
from local_airflow import BIN, LocalAirflow

ROOT = Path(__file__).resolve().parent
STARTERS = [name for name, (example, _) in compose.STARTERS.items() if example != "empty"]


def create_project(starter: str, folder: Path) -> Path:
    """Create a project with `kedro new` from a starter of this checkout."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    environment = {**os.environ, "DO_NOT_TRACK": "1"}
    command = [BIN / "kedro", "new", f"--starter={ROOT}", f"--directory=starters/{starter}"]
    subprocess.run([*command, "--name=Demo"], cwd=folder, env=environment, check=True)
    return folder / "demo"


def main() -> int:
    """Run the demo, and return 0 if the DAG run succeeds."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("starter", choices=STARTERS)
    starter = parser.parse_args().starter
    console = Console(highlight=False)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))

    console.print(f"[bold]1. kedro new --starter=. --directory=starters/{starter}")
    project = create_project(starter, ROOT / "build" / "demo" / starter)
    console.print("[bold]2. Install the project's requirements")
    install = [BIN / "uv", "pip", "install", "--quiet", "--compile-bytecode"]
    requirements = project / "requirements.txt"
    subprocess.run([*install, "--python", sys.executable, "-r", requirements], check=True)
    console.print("[bold]3. Start Airflow and trigger the DAG")
    settings = {
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(project / "plugins"),
        "KEDRO_RUNNER": "executor",  # there is no cluster for pods
    }
    with LocalAirflow(project / ".airflow", project / "dags", project, settings) as airflow:
        console.print(f"   healthy at {airflow.url}")
        run_id = airflow.trigger("demo")
        state = airflow.wait(
            "demo",
            run_id,
            report=lambda task: console.print(f"   {task['state']:<8} {task['task_id']}"),
        )
        tasks = airflow.tasks("demo", run_id)
        failed = [airflow.log("demo", run_id, task) for task in tasks if task["state"] == "failed"]
        run = airflow.get(f"dags/demo/dagRuns/{run_id}")

    console.print(f"\nDAG run {run_id}: {state} in {run['duration']:.1f} s")
    table = Table()
    table.add_column("task")
    table.add_column("state")
    table.add_column("seconds", justify="right")
    for task in tasks:
        table.add_row(task["task_id"], task["state"], f"{task['duration'] or 0:.1f}")
    console.print(table)
    for log in failed:
        print(log, file=sys.stderr)
    if state != "success":
        return 1

    [metrics] = project.glob("data/08_reporting/metrics.json/*/metrics.json")
    console.print(f"\n{metrics.relative_to(project)}", soft_wrap=True)
    table = Table()
    table.add_column("metric")
    table.add_column("value", justify="right")
    for name, value in json.loads(metrics.read_text()).items():
        table.add_row(name, f"{value:.4g}")
    console.print(table)
    console.print(
        "\nThe same project with Airflow's UI:\n"
        f"  . {BIN.relative_to(ROOT)}/activate && make -C {project.relative_to(ROOT)} airflow",
        soft_wrap=True,
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
