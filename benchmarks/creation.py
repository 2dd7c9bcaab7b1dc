"""Time creating a project with its DAG, against a bare `kedro new`: `make bench`.

Both are whole processes, run in turn in empty folders; the first pair warms up and is not counted.
"""

import sys
import tempfile
import time
from pathlib import Path

from tools import KEDRO, ROOT, SPACEFLIGHTS, print_ratios, run

PAIRS = 10
BARE = ("--tools=none", "--example=no")
COMMANDS = {
    "bare kedro new": BARE,
    "spaceflights-astro": SPACEFLIGHTS,
    "astro-airflow-iris": (f"--starter={ROOT}", "--directory=starters/astro-airflow-iris"),
}


def seconds(options: tuple[str, ...]) -> float:
    """Time one creation, in seconds."""
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        run(KEDRO, "new", "--name=Bench", *options, cwd=folder)
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
    print_ratios("Creating a project", runs)


if __name__ == "__main__":
    main()
