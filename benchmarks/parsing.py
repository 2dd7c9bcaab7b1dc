"""What it costs to read a DAG file, beside kedro-airflow's and bare operators: `make bench`.

Each import is done by an interpreter of its own, which has imported Airflow and made a DAG, as
that of Airflow's DAG processor has, and from the byte code of an earlier import; all in turn.
"""

import json
import statistics
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table
from tools import KEDRO, SPACEFLIGHTS, run

OURS, THEIRS, BARE = "ours", "kedro-airflow", "bare operators"
IMPORTS = {"spaceflights": 15, "100": 15, "1000": 9, "10000": 3}  # how often each graph is read
GROUPINGS = ("none", "tag:small", "tag:large")

REGISTRY = """
import os
from kedro.pipeline import Node, Pipeline

def join(*datasets):
    '''Join what two earlier nodes have left.'''

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
seconds = {"import": time.perf_counter() - start}
for group_by in sys.argv[2:]:
    nodes = [node for task in module.dag.tasks for node in task.nodes]
    start = time.perf_counter()
    module.kedro_dag.group_nodes(nodes, group_by)
    seconds[group_by] = time.perf_counter() - start
print(json.dumps(seconds))
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
        for kind, template in {OURS: ["-j", "conf/airflow/dag.py.j2"], THEIRS: []}.items():
            dags = project / f"{graph}-{kind}"
            command = ("airflow", "create", "--env=airflow", f"--target-dir={dags}", *template)
            start = time.perf_counter()
            run(KEDRO, *command, cwd=project, NODES=graph)
            durations[graph, kind] = time.perf_counter() - start
            [files[graph, kind]] = dags.glob("*.py")
        (project / f"{graph}-{OURS}" / "kedro_dag.py").write_bytes(
            (project / "dags" / "kedro_dag.py").read_bytes()
        )
        files[graph, BARE] = write_bare(files[graph, OURS], project / f"{graph}-bare.py")
        print(f"\r{graph} written", end="", file=sys.stderr, flush=True)
    return files, durations


def write_bare(ours: Path, path: Path) -> Path:
    """Write the DAG file that has a plain BaseOperator for each of our tasks, and our edges."""
    printed = run(sys.executable, "-c", IMPORT + SHOW, ours, cwd=path.parent)
    tasks = json.loads(printed.splitlines()[-1])
    names = {task: f"t{number}" for number, task in enumerate(tasks)}
    lines = [f"    {name} = BaseOperator(task_id={task!r})" for task, name in names.items()]
    lines += [f"    {names[task]} >> {names[other]}" for task in tasks for other in tasks[task]]
    path.write_text(BARE_DAG.format(lines="\n".join(lines)))
    return path


def main() -> None:
    """Measure, and print tables of medians and ratios."""
    found: dict[tuple[str, str], list[dict[str, float]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        files, durations = create_dags(Path(folder))
        for number in range(1 + max(IMPORTS.values())):
            for (graph, kind), file in files.items():
                if number <= IMPORTS[graph]:
                    groupings = GROUPINGS if kind == OURS else ()
                    command = (sys.executable, "-c", IMPORT, file, *groupings)
                    seconds = json.loads(run(*command, cwd=Path(folder) / "bench"))
                    found.setdefault((graph, kind), []).extend([seconds] if number else [])
            print(
                f"\r{number}/{max(IMPORTS.values())} imports", end="", file=sys.stderr, flush=True
            )
    print(file=sys.stderr)

    def median(graph: str, kind: str, what: str = "import") -> float:
        return statistics.median(seconds[what] for seconds in found[graph, kind])

    table = Table(title="Importing a DAG file, after Airflow")
    for column in ("nodes", *(f"{kind} s" for kind in (OURS, THEIRS, BARE))):
        table.add_column(column, justify="right")
    table.add_column(f"ours to {THEIRS}", justify="right")
    table.add_column(f"ours to {BARE}", justify="right")
    for graph in IMPORTS:
        ours, theirs, bare = (median(graph, kind) for kind in (OURS, THEIRS, BARE))
        figures = f"{ours:.3f}", f"{theirs:.3f}", f"{bare:.3f}"
        table.add_row(graph, *figures, f"{ours / theirs:.2f}", f"{ours / bare:.2f}")
    Console().print(table)

    table = Table(title="Microseconds a node")
    for column in ("nodes", *(f"group_by: {name}" for name in GROUPINGS)):
        table.add_column(column, justify="right")
    table.add_column("kedro airflow create", justify="right")
    table.add_column(f"with {THEIRS}'s template", justify="right")
    for graph in list(IMPORTS)[1:]:
        figures = [median(graph, OURS, name) for name in GROUPINGS]
        figures += [durations[graph, kind] for kind in (OURS, THEIRS)]
        table.add_row(graph, *(f"{figure / int(graph) * 1e6:.0f}" for figure in figures))
    Console().print(table)


if __name__ == "__main__":
    main()
