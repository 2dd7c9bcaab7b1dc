"""Time reading a DAG file, against kedro-airflow's and bare operators: `make bench`.

Each import runs in its own interpreter, which has imported Airflow and created a DAG, like that of
Airflow's DAG processor, and uses the byte code of an earlier import. The kinds alternate.
"""

import json
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table
from tools import KEDRO, SPACEFLIGHTS, TEMPLATE, run

OURS, THEIRS, BARE = "ours", "kedro-airflow", "bare operators"
IMPORTS = {"spaceflights": 15, "100": 15, "1000": 9, "10000": 3}  # readings of each graph

REGISTRY = """
import os
from kedro.pipeline import Node, Pipeline

def join(*datasets):
    '''Join the outputs of two earlier nodes.'''

def register_pipelines():
    return {
        "__default__": Pipeline(
            Node(
                join,
                sorted({f"data_{number // 2}", f"data_{number // 3}"}),
                f"data_{number}",
                name=f"join_{number}_node",
                tags=[f"large_{number % 10}", f"small_{number // 10}"],
            )
            for number in range(1, int(os.environ["NODES"]) + 1)
        )
    }
"""
BARE_DAG = """
from datetime import timedelta
from airflow.sdk import DAG, BaseOperator

settings = {{"owner": "airflow", "retries": 2, "retry_delay": timedelta(minutes=1)}}
with DAG("bare", schedule=None, default_args=settings):
{lines}
"""
IMPORT = """
import json, sys, time
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from airflow.sdk import DAG, BaseOperator

with DAG("first", schedule=None):
    BaseOperator(task_id="first")
loader = SourceFileLoader("dag_file", sys.argv[1])
start = time.perf_counter()
module = module_from_spec(spec_from_loader(loader.name, loader))
loader.exec_module(module)
print(time.perf_counter() - start)
"""
SHOW = """
print(json.dumps({task.task_id: sorted(task.downstream_task_ids) for task in module.dag.tasks}))
"""


def create_dags(folder: Path) -> tuple[dict[tuple[str, str], Path], dict[tuple[str, str], float]]:
    """Create the DAG files of each graph.

    Returns:
        The file of each graph and kind, and how long `kedro airflow create` took, in seconds.
    """
    run(KEDRO, "new", "--name=Bench", *SPACEFLIGHTS, cwd=folder)
    project = folder / "bench"
    registry = project / "src" / "bench" / "pipeline_registry.py"
    files, durations = {}, {}
    for graph in IMPORTS:
        if graph != "spaceflights":
            registry.write_text(REGISTRY)
        for kind, template in {OURS: (), THEIRS: (f"--jinja-file={TEMPLATE}",)}.items():
            dags = project / f"{graph}-{kind}"
            command = ("airflow", "create", f"--target-dir={dags}", *template)
            start = time.perf_counter()
            run(KEDRO, *command, cwd=project, NODES=graph)
            durations[graph, kind] = time.perf_counter() - start
            [files[graph, kind]] = dags.glob("*.py")
        engine = project / f"{graph}-{OURS}" / "bench_airflow"
        shutil.copytree(project / "dags" / "bench_airflow", engine)
        files[graph, BARE] = write_bare(files[graph, OURS], project / f"{graph}-bare.py")
        print(f"\r{graph} written", end="", file=sys.stderr, flush=True)
    return files, durations


def write_bare(ours: Path, path: Path) -> Path:
    """Write a DAG file with a plain BaseOperator for each of our tasks, and our edges."""
    printed = run(sys.executable, "-c", IMPORT + SHOW, ours, cwd=path.parent)
    tasks = json.loads(printed.splitlines()[-1])
    names = {task: f"t{number}" for number, task in enumerate(tasks)}
    lines = [f"    {name} = BaseOperator(task_id={task!r})" for task, name in names.items()]
    lines += [f"    {names[task]} >> {names[other]}" for task in tasks for other in tasks[task]]
    path.write_text(BARE_DAG.format(lines="\n".join(lines)))
    return path


def main() -> None:
    """Measure, and print tables of medians and ratios."""
    found: dict[tuple[str, str], list[float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        files, durations = create_dags(Path(folder))
        sizes = {key: file.stat().st_size / 1000 for key, file in files.items()}
        for number in range(1 + max(IMPORTS.values())):
            for (graph, kind), file in files.items():
                if number <= IMPORTS[graph]:
                    command = (sys.executable, "-c", IMPORT, file)
                    seconds = float(run(*command, cwd=Path(folder) / "bench"))
                    found.setdefault((graph, kind), []).extend([seconds] if number else [])
            print(
                f"\r{number}/{max(IMPORTS.values())} imports", end="", file=sys.stderr, flush=True
            )
    print(file=sys.stderr)

    table = Table(title="Importing a DAG file, after Airflow")
    for column in ("nodes", *(f"{kind} s" for kind in (OURS, THEIRS, BARE))):
        table.add_column(column, justify="right")
    table.add_column(f"ours to {THEIRS}", justify="right")
    table.add_column(f"ours to {BARE}", justify="right")
    for graph in IMPORTS:
        seconds = (statistics.median(found[graph, kind]) for kind in (OURS, THEIRS, BARE))
        ours, theirs, bare = seconds
        figures = f"{ours:.3f}", f"{theirs:.3f}", f"{bare:.3f}"
        table.add_row(graph, *figures, f"{ours / theirs:.2f}", f"{ours / bare:.2f}")
    Console().print(table)

    table = Table(title="Writing a DAG file")
    for column in ("nodes", "ours s", f"{THEIRS} s", "ratio", "ours kB", f"{THEIRS} kB", "ratio"):
        table.add_column(column, justify="right")
    for graph in IMPORTS:
        row = [graph]
        for figures in (durations, sizes):
            ours, theirs = (figures[graph, kind] for kind in (OURS, THEIRS))
            row += [f"{ours:.1f}", f"{theirs:.1f}", f"{ours / theirs:.2f}"]
        table.add_row(*row)
    Console().print(table)


if __name__ == "__main__":
    main()
