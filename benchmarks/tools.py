"""What the benchmarks share: running commands, and the table of durations."""

import os
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import kedro_airflow
from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).resolve().parents[1]
KEDRO = Path(sys.executable).parent / "kedro"
TEMPLATE = Path(kedro_airflow.__file__).with_name("airflow_dag_template.j2")  # its own
SPACEFLIGHTS = (f"--starter={ROOT}", "--directory=starters/spaceflights-astro")


def run(*command: object, cwd: Path | str, **variables: str) -> str:
    """Run a command, without telemetry and with byte code, and return its output."""
    environment = {**os.environ, "DO_NOT_TRACK": "1", **variables}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    command = [str(part) for part in command]
    done = subprocess.run(command, cwd=cwd, env=environment, stdout=-1, stderr=-1, text=True)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def print_ratios(title: str, durations: Mapping[str, Sequence[float]]) -> None:
    """Print the median of each, in seconds, and its ratios to the first, pair by pair."""
    table = Table(title=title)
    table.add_column("what")
    for column in ("median s", "ratio", "lowest", "highest"):
        table.add_column(column, justify="right")
    first = next(iter(durations.values()))
    for name, found in durations.items():
        ratios = [one / other for one, other in zip(found, first, strict=True)]
        figures = statistics.median(found), statistics.median(ratios), min(ratios), max(ratios)
        table.add_row(name, *(f"{figure:.2f}" for figure in figures))
    Console().print(table)
