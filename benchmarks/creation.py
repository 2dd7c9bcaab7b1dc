"""What it costs to create a project with its DAG, beside a bare `kedro new`: `make bench`.

Both are whole processes, run in turn in empty folders; the first pair warms up and is not counted.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).resolve().parents[1]
KEDRO = Path(sys.executable).parent / "kedro"
PAIRS = 10
BARE = ("--tools=none", "--example=no")
COMMANDS = {
    "bare kedro new": BARE,
    "spaceflights-astro": (f"--starter={ROOT}", "--directory=starters/spaceflights-astro"),
    "astro-airflow-iris": (f"--starter={ROOT}", "--directory=starters/astro-airflow-iris"),
}


def seconds(options: tuple[str, ...]) -> float:
    """Time one creation, in seconds."""
    with tempfile.TemporaryDirectory() as folder:
        command = [KEDRO, "new", "--name=Bench", *options]
        environment = {**os.environ, "DO_NOT_TRACK": "1"}
        start = time.perf_counter()
        subprocess.run(command, cwd=folder, env=environment, capture_output=True, check=True)
        duration = time.perf_counter() - start
        created = Path(folder) / "bench"
        assert options == BARE or (created / "dags" / "bench_airflow_dag.py").is_file()
    return duration


def main() -> None:
    """Measure, and print a table of medians and ratios."""
    runs: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for number in range(PAIRS + 1):
        for name, options in COMMANDS.items():
            duration = seconds(options)
            if number:
                runs[name].append(duration)
        print(f"\r{number}/{PAIRS}", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    table = Table(title="Creating a project")
    table.add_column("command")
    for column in ("median s", "ratio", "lowest", "highest"):
        table.add_column(column, justify="right")
    bare = runs["bare kedro new"]
    for name, durations in runs.items():
        ratios = [duration / other for duration, other in zip(durations, bare, strict=True)]
        figures = statistics.median(durations), statistics.median(ratios), min(ratios), max(ratios)
        table.add_row(name, *(f"{figure:.2f}" for figure in figures))
    Console().print(table)


if __name__ == "__main__":
    main()
