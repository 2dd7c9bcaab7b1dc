"""Airflow's side: the DAG and its operator. Kedro and the project are imported in tasks only."""

from __future__ import annotations

import hashlib
import importlib
import math
import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pendulum

from .model import Node, Run, Task, stored_name

try:
    from airflow.sdk import DAG, Asset, BaseOperator, Param, TaskGroup
except ImportError as error:
    raise ImportError("The DAGs of this project need Apache Airflow 3.0 or later.") from error
try:
    from airflow.sdk.exceptions import AirflowFailException
except ImportError:  # before Airflow 3.2
    from airflow.exceptions import AirflowFailException


class KedroOperator(BaseOperator):
    """Runs ``nodes`` in the task's own process; ``run`` is what all tasks of the DAG share."""

    ui_color = "#ffe36e"

    def __init__(self, *, nodes: Sequence[Node], run: Run, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.nodes = nodes
        self.run = run

    def execute(self, context: Mapping[str, Any]) -> None:
        """Do this task's part of the DAG run in ``context``."""
        from .run import run

        run(self.run_in(context))

    def run_in(self, context: Mapping[str, Any]) -> Run:
        """Say what this task does in the DAG run of ``context``."""
        names = [name for node in self.nodes for name in (*node.inputs, *node.outputs)]
        used = set(map(stored_name, names))
        dag_run = context["dag_run"]
        return replace(
            self.run,
            nodes=[replace(node, doc=None) for node in self.nodes],
            written=[n for n in self.run.written if stored_name(n) in used or not self.nodes],
            parameters=run_parameters(context, self.dag.params),
            version=run_version(dag_run.run_id, dag_run.run_after),
        )


def create_dag(
    dag_id: str,
    *,
    package: str,
    pipeline: str,
    env: str,
    conf_source: str | None = None,
    tasks: Sequence[Task],
    default_args: Mapping[str, Any],
    params: Mapping[str, Mapping[str, Any]],
    schedule: Any = None,
    assets: Sequence[str] = (),
    start_date: str | None = None,
    end_date: str | None = None,
    timezone: str = "UTC",
    on_success_callback: str | None = None,
    on_failure_callback: str | None = None,
    outlets: bool = True,
    operator: type[KedroOperator] = KedroOperator,
    **settings: Any,
) -> DAG:
    """Create the DAG that runs a Kedro pipeline with the Kedro environment ``env``.

    Args:
        params: the fields of the trigger form, under the names of Kedro's parameters.
        assets: those that start a run, in place of ``schedule``.
        start_date, end_date: in ISO format.
        on_success_callback, on_failure_callback: import paths of functions.
        outlets: whether what the tasks write are assets.
        settings: further ones, as Airflow's DAG takes them.
    """
    nodes = [node for task in tasks for node in task.nodes]
    read = {name for node in nodes for name in node.inputs}
    written = {name for node in nodes for name in node.outputs}
    dag = DAG(
        dag_id,
        doc_md=dag_doc(f"`{pipeline}` of `{package}`, environment `{env}`", nodes, read, written),
        default_args=dict(default_args),
        params={name: Param(**field) for name, field in params.items()},
        schedule=[Asset(name) for name in assets] or schedule,
        start_date=start_date and pendulum.parse(start_date, tz=timezone),
        end_date=end_date and pendulum.parse(end_date, tz=timezone),
        on_success_callback=on_success_callback and callback(on_success_callback),
        on_failure_callback=on_failure_callback and callback(on_failure_callback),
        **settings,
    )
    outside = assets_of(package, read, without=written) if outlets else {}
    produced = assets_of(package, written) if outlets else {}
    run = Run(package, pipeline, env, conf_source, sorted(written))
    groups: dict[str | None, TaskGroup] = {}
    operators: dict[str, KedroOperator] = {}
    for task in tasks:
        if task.group and task.group not in groups:
            groups[task.group] = TaskGroup(task.group, prefix_group_id=False, dag=dag)
        operators[task.id] = operator(
            task_id=task.id,
            dag=dag,
            task_group=groups.get(task.group),
            doc_md="\n\n".join(map(node_doc, task.nodes)),
            inlets=choose(outside, (name for node in task.nodes for name in node.inputs)),
            outlets=choose(produced, (name for node in task.nodes for name in node.outputs)),
            nodes=task.nodes,
            run=run,
            **task.settings,
        )
    for task in tasks:
        operators[task.id].set_upstream([operators[id] for id in task.after])
    return dag


def callback(path: str) -> Callable[[Any], Any]:
    """Import a callback when it is called: from the project's src/ or from anywhere else."""

    def call(context: Any) -> Any:
        source = str(Path(__file__).resolve().parents[2] / "src")
        if source not in sys.path:
            sys.path.append(source)
        module, _, name = path.rpartition(".")
        return getattr(importlib.import_module(module), name)(context)

    return call


def assets_of(
    package: str, datasets: Iterable[str], without: Iterable[str] = ()
) -> dict[str, Asset]:
    """Name the assets of datasets, parameters aside: PACKAGE.DATASET in every run.

    The URI is the name, so that ``Asset("PACKAGE.DATASET")`` in another DAG is the same asset.
    """
    names = {stored_name(name) for name in datasets if not name.startswith("params:")}
    names -= {"parameters", *map(stored_name, without)}
    return {name: Asset(f"{package}.{quote(name, safe='')}") for name in names}


def choose(assets: Mapping[str, Asset], datasets: Iterable[str]) -> list[Asset]:
    return [assets[name] for name in sorted(set(map(stored_name, datasets))) if name in assets]


def node_doc(node: Node) -> str:
    """Describe a node in Markdown: its docstring, inputs and outputs."""
    doc = f"{node.doc}\n\n" if node.doc else ""
    ends = f"- inputs: {listed(node.inputs)}\n- outputs: {listed(node.outputs)}"
    return f"### {node.name}\n\n{doc}{ends}"


def dag_doc(title: str, nodes: Iterable[Node], read: set[str], written: set[str]) -> str:
    """Describe the pipeline in Markdown: what it reads, what it leaves, and its nodes."""
    rows = [f"| {node.name} | {listed(node.inputs)} | {listed(node.outputs)} |" for node in nodes]
    ends = f"- reads: {listed(sorted(read - written))}\n- leaves: {listed(sorted(written - read))}"
    table = "\n".join(["| node | inputs | outputs |", "|---|---|---|", *rows])
    return f"Kedro pipeline {title}.\n\n{ends}\n\n{table}"


def listed(datasets: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in datasets) or "none"


# What a run gives to its tasks


def run_version(run_id: str, run_after: datetime) -> str:
    """Name the version that all tasks of a DAG run save: unique, and sorted by time."""
    unique = hashlib.sha256(run_id.encode()).hexdigest()[:8]
    return f"{run_after.astimezone(pendulum.UTC):%Y-%m-%dT%H.%M.%S.%f}Z-{unique}"


def run_parameters(context: Mapping[str, Any], form: Collection[str]) -> dict[str, Any]:
    """Collect what the DAG run gives to Kedro's parameters.

    The fields of the trigger form replace parameters of their names. ``airflow`` tells about the
    run: its run_id, the folder of its intermediate data, and in ISO format its logical_date,
    data_interval_start and data_interval_end, None where the run has none.

    Raises:
        AirflowFailException: the run's conf has more than the form, or what is no value.
    """
    parameters: dict[str, Any] = {}
    for name, value in context["params"].items():
        if name not in form:
            raise AirflowFailException(
                f"The conf of this run has {name!r}, which is no field of the DAG's form: list it "
                "in `params` of airflow.yml and run `make dag`, or trigger a run without it."
            )
        for scalar in scalars(value):
            if scalar == "???" or (isinstance(scalar, float) and not math.isfinite(scalar)):
                raise AirflowFailException(
                    f"The conf of this run gives {name!r} {scalar!r}, which is no value for Kedro."
                )
        *path, last = name.split(".")
        place = parameters
        for part in path:
            place = place.setdefault(part, {})
        place[last] = value
    dag_run = context["dag_run"]
    folder = quote(dag_run.run_id, safe="")
    if not folder.strip("."):  # neither this folder nor the one above
        folder = folder.replace(".", "%2E")
    about = {"run_id": dag_run.run_id, "folder": folder}
    for name in ("logical_date", "data_interval_start", "data_interval_end"):
        time = getattr(dag_run, name, None)
        about[name] = time.isoformat() if time else None
    return parameters | {"airflow": about}


def scalars(value: Any) -> Iterator[Any]:
    """Take a value of JSON apart: its texts, numbers, booleans and nulls."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from scalars(item)
    else:
        yield value
