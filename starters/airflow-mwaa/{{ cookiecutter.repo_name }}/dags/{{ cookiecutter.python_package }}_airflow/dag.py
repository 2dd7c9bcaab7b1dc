"""Airflow's side: the DAG and its operator. Only tasks import Kedro and the project."""

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
    from airflow.sdk.exceptions import AirflowFailException as AirflowFailException
except ImportError:  # before Airflow 3.2
    from airflow.exceptions import AirflowFailException as AirflowFailException  # type: ignore


class KedroOperator(BaseOperator):
    """Runs a task's nodes in the task's own process.

    Each DAG has its own subclass, with its ``tasks`` by id and, in ``run``, what they all share:
    passing them to an ``__init__`` would take a tenth of the time it takes to read a DAG.
    """

    ui_color = "#ffe36e"
    tasks: Mapping[str, Task]
    run: Run

    @property
    def nodes(self) -> Sequence[Node]:
        """The task's nodes; a task without nodes removes the run's intermediate data."""
        return self.tasks[self.task_id].nodes

    def execute(self, context: Mapping[str, Any]) -> None:
        """Do this task's part of the DAG run in ``context``."""
        from .run import run

        run(self.run_in(context))

    def run_in(self, context: Mapping[str, Any]) -> Run:
        """Describe what this task does in the DAG run in ``context``."""
        names = [name for node in self.nodes for name in (*node.inputs, *node.outputs)]
        used = set(map(stored_name, names))
        dag_run = context["dag_run"]
        name = run_name(self.dag.dag_id, self.run.package, dag_run.run_id)
        return replace(
            self.run,
            nodes=[replace(node, doc=None) for node in self.nodes],
            written=[n for n in self.run.written if stored_name(n) in used or not self.nodes],
            parameters=run_parameters(context, self.dag.params, run_folder(name)),
            version=run_version(name, dag_run.run_after),
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
    leaves: Mapping[str, Sequence[str]] | None = None,
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
        params: the fields of the trigger form, by the names of Kedro's parameters.
        leaves: the datasets that a run leaves, by where they are.
        assets: names of assets that start a run, instead of ``schedule``.
        start_date, end_date: in ISO format.
        on_success_callback, on_failure_callback: import paths of functions.
        outlets: whether the datasets that tasks write are assets.
        settings: any others that Airflow's DAG takes.
    """
    nodes = [node for task in tasks for node in task.nodes]
    read = {name for node in nodes for name in node.inputs}
    written = {name for node in nodes for name in node.outputs}
    dag = DAG(
        dag_id,
        doc_md=dag_doc(
            f"`{pipeline}` of `{package}`, environment `{env}`", nodes, read - written, leaves or {}
        ),
        default_args=dict(default_args),
        params={name: Param(**field) for name, field in params.items()},
        schedule=[Asset(name) for name in assets] or schedule,
        start_date=moment(start_date, timezone),
        end_date=moment(end_date, timezone),
        on_success_callback=callback(on_success_callback),
        on_failure_callback=callback(on_failure_callback),
        **settings,
    )
    outside = assets_of(package, read, without=written) if outlets else {}
    produced = assets_of(package, written) if outlets else {}
    run = Run(package, pipeline, env, conf_source, sorted(written))
    shared = {"tasks": {task.id: task for task in tasks}, "run": run}
    of_this_dag: type[KedroOperator] = type(operator.__name__, (operator,), shared)
    groups: dict[str | None, TaskGroup] = {}
    operators: dict[str, KedroOperator] = {}
    for task in tasks:
        if task.group and task.group not in groups:
            groups[task.group] = TaskGroup(task.group, prefix_group_id=False, dag=dag)
        operators[task.id] = of_this_dag(
            task_id=task.id,
            dag=dag,
            task_group=groups.get(task.group),
            doc_md="\n\n".join(map(node_doc, task.nodes)),
            inlets=choose(outside, (name for node in task.nodes for name in node.inputs)),
            outlets=choose(produced, (name for node in task.nodes for name in node.outputs)),
            **task.settings,
        )
    for task in tasks:
        if task.after:
            operators[task.id].set_upstream([operators[id] for id in task.after])
    return dag


def moment(text: str | None, timezone: str) -> datetime | None:
    """Read a date in ISO format, in this time zone if it has no offset."""
    return pendulum.instance(datetime.fromisoformat(text), tz=timezone) if text else None


def callback(path: str | None) -> Callable[[Any], Any] | None:
    """Import a callback only when it is called, from the project's src/ or anywhere else."""
    if path is None:
        return None

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
    """Name the assets of datasets, but not of parameters: PACKAGE.DATASET in every run.

    The URI is the name: ``Asset("PACKAGE.DATASET")`` in another DAG is the same asset.
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


def dag_doc(
    title: str, nodes: Sequence[Node], reads: Iterable[str], leaves: Mapping[str, Sequence[str]]
) -> str:
    """Describe the pipeline in Markdown: what a run reads, what it leaves, and the nodes."""
    if not nodes:
        return f"Kedro pipeline {title}: no nodes yet. Add a pipeline, and run `make dag`."
    parts = [f"Kedro pipeline {title}.", f"A run reads {listed(sorted(reads))}."]
    if leaves:
        left = [f"| {listed(names)} | `{place}` |" for place, names in leaves.items()]
        parts.append("\n".join(["| a run leaves | in |", "|---|---|", *left]))
    steps = [f"- {node.name}: {listed(node.inputs)} → {listed(node.outputs)}" for node in nodes]
    return "\n\n".join([*parts, "\n".join(steps)])


def listed(datasets: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in datasets) or "none"


# What a run passes to its tasks


def run_name(dag_id: str, package: str, run_id: str) -> str:
    """Name a DAG run among those of all DAGs of the project, whose ids may be the same."""
    return run_id if dag_id == package else f"{dag_id}.{run_id}"


def run_version(name: str, run_after: datetime) -> str:
    """Name the version that all tasks of a DAG run save: unique, and sortable by time."""
    unique = hashlib.sha256(name.encode()).hexdigest()[:8]
    return f"{run_after.astimezone(pendulum.UTC):%Y-%m-%dT%H.%M.%S.%f}Z-{unique}"


def run_folder(name: str) -> str:
    """Name a DAG run's folder: unique, and at most 120 ASCII characters."""
    folder = quote(name, safe="")
    if not folder.strip("."):  # would be this folder or the one above
        folder = folder.replace(".", "%2E")
    if len(folder) > 120:  # no short name has a +
        folder = f"{folder[:100]}+{hashlib.sha256(name.encode()).hexdigest()[:16]}"
    return folder


def run_parameters(
    context: Mapping[str, Any], form: Collection[str], folder: str
) -> dict[str, Any]:
    """Collect the parameters that the DAG run passes to Kedro.

    The fields of the trigger form replace the parameters of the same names. ``airflow`` describes
    the run: its run_id, the folder of its intermediate data, and its logical_date,
    data_interval_start and data_interval_end in ISO format, or None.

    Raises:
        AirflowFailException: the run's conf has more than the form's fields, or an invalid value.
    """
    parameters: dict[str, Any] = {}
    for name, value in context["params"].items():
        if name not in form:
            raise AirflowFailException(
                f"This run's conf has {name!r}, which is not a field of the DAG's form: list it in "
                "`params` of airflow.yml and run `make dag`, or trigger a run without it."
            )
        for scalar in scalars(value):
            if scalar == "???" or (isinstance(scalar, float) and not math.isfinite(scalar)):
                raise AirflowFailException(
                    f"This run's conf sets {name!r} to {scalar!r}, which Kedro cannot use."
                )
        *path, last = name.split(".")
        place = parameters
        for part in path:
            place = place.setdefault(part, {})
        place[last] = value
    dag_run = context["dag_run"]
    about = {"run_id": dag_run.run_id, "folder": folder}
    for name in ("logical_date", "data_interval_start", "data_interval_end"):
        time = getattr(dag_run, name, None)
        about[name] = time.isoformat() if time else None
    return parameters | {"airflow": about}


def scalars(value: Any) -> Iterator[Any]:
    """Take a JSON value apart: list its strings, numbers, booleans and nulls."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from scalars(item)
    else:
        yield value
