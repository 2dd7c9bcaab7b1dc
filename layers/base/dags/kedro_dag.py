"""Turn the nodes of a Kedro pipeline into an Airflow DAG.

The DAG files beside this one hold data: the settings of airflow.yml and the pipeline's nodes. The
logic is here, and kedro_run.py has what happens in a task. Only tasks import that, Kedro and the
project, so that Airflow reads the DAG fast and its own processes never see the project's code.
"""

from __future__ import annotations

import hashlib
import importlib
import math
import re
import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timezone
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple, TypeVar
from urllib.parse import quote

import pendulum
from airflow.sdk import DAG, Asset, BaseOperator, Param, TaskGroup

try:
    from airflow.sdk.exceptions import AirflowFailException
except ImportError:  # Airflow 3.0
    from airflow.exceptions import AirflowFailException

Key = TypeVar("Key")


class Node(NamedTuple):
    """A node of the Kedro pipeline, by names only.

    ``pipeline`` is the folder in pipelines/ that holds the node's function, None for any other;
    ``group`` the task that `kedro airflow create --group-by` has put the node into.
    """

    name: str
    inputs: Sequence[str]
    outputs: Sequence[str]
    tags: Sequence[str] = ()
    namespace: str | None = None
    pipeline: str | None = None
    group: str | None = None
    doc: str | None = None

    @property
    def selectors(self) -> set[str]:
        """What chooses this node in the ``tasks`` of airflow.yml."""
        parts = self.namespace.split(".") if self.namespace else []
        namespaces = {".".join(parts[:depth]) for depth in range(1, len(parts) + 1)}
        return (
            {self.name, f"pipeline:{self.pipeline}"}
            | {f"namespace:{namespace}" for namespace in namespaces}
            | {f"tag:{tag}" for tag in self.tags}
        )

    def box(self, group_by: str) -> tuple[str, str]:
        """The kind and the name of the group that this node belongs to; alone it is a node."""
        if self.group:
            return "group", self.group
        if group_by == "pipeline" and self.pipeline:
            return "pipeline", self.pipeline
        if group_by == "namespace" and self.namespace:
            return "namespace", self.namespace.split(".")[0]
        if group_by.startswith("tag:"):
            prefix = group_by.removeprefix("tag:")
            for tag in sorted(self.tags):
                if tag.startswith(prefix):
                    return "tag", tag
        return "node", self.name


class Pipeline(NamedTuple):
    """The Kedro pipeline that a DAG runs; ``outputs`` are all the datasets that it writes.

    ``project_path`` is the project's folder, or where only its package is installed, the folder
    whose plugins/ has its configuration as an archive.
    """

    package: str
    name: str
    env: str
    project_path: Path
    outputs: Collection[str]


def create_dag(
    *,
    dag_file: str,
    package_name: str,
    pipeline_name: str,
    env: str,
    dag_settings: Mapping[str, Any],
    task_settings: Mapping[str, Any],
    tasks: Mapping[str, Mapping[str, Any]],
    form: Mapping[str, Mapping[str, Any]],
    nodes: Sequence[Node],
) -> DAG:
    """Create the DAG that runs ``nodes`` with the Kedro environment ``env``.

    The project is the folder above the one that holds ``dag_file``, wherever Airflow is started.

    Args:
        dag_settings: of the DAG as a whole, in the values that Airflow's DAG takes.
        task_settings: of every task, in the values that Airflow's BaseOperator takes.
        tasks: further settings of the tasks that have a node chosen by the key: the node's name,
            or one of its pipeline:, namespace: and tag:.
        form: the fields of the trigger form, under the names of Kedro's parameters.
    """
    project_path = Path(dag_file).resolve().parent.parent
    settings = dict(dag_settings)
    group_by = settings.pop("group_by", "none")
    zone = settings.pop("timezone", "UTC")
    outlets = settings.pop("outlets", True)
    keep_intermediate = settings.pop("keep_intermediate", True)
    runner = settings.pop("runner", None)  # in projects for Kubernetes
    operator_class = load_sibling("kedro_pod").operator_class(runner) if runner else KedroOperator
    if assets := settings.pop("assets", []):
        settings["schedule"] = [Asset(name) for name in assets]
    for key in ("start_date", "end_date"):
        if settings.get(key):
            settings[key] = pendulum.parse(settings[key], tz=zone)
    for key in ("on_success_callback", "on_failure_callback"):
        if settings.get(key):
            settings[key] = _callback(settings[key], project_path)
    dag_id = [package_name]
    dag_id += [pipeline_name] if pipeline_name != "__default__" else []
    dag_id += [env] if env != "airflow" else []
    dag = DAG(
        dag_id=slug("-".join(dag_id)),
        doc_md=dag_doc(package_name, pipeline_name, env, nodes),
        default_args=dict(task_settings),
        params={name: _param(**field) for name, field in form.items()},
        **settings,
    )
    pipeline = Pipeline(package_name, pipeline_name, env, project_path, _outputs(nodes))
    written = assets_of(package_name, pipeline.outputs if outlets else ())
    read = assets_of(package_name, _inputs(nodes) if outlets else (), without=written)
    groups = group_nodes(nodes, group_by)
    boxes = task_groups(groups, dag)
    operators = {}
    for task_id, group in groups.items():
        operators[task_id] = operator = operator_class(
            task_id=task_id,
            dag=dag,
            task_group=boxes.get(task_id),
            doc_md="\n\n".join(node_doc(node) for node in group),
            inlets=_choose(read, (name for node in group for name in node.inputs)),
            outlets=_choose(written, (name for node in group for name in node.outputs)),
            **{
                key: value
                for selector, overrides in tasks.items()
                if any(selector in node.selectors for node in group)
                for key, value in overrides.items()
            },
        )
        operator.nodes, operator.pipeline = group, pipeline
    upstream: dict[str, list[BaseOperator]] = {}
    for first, second in dependencies(groups):
        upstream.setdefault(second, []).append(operators[first])
    for task_id, needed in upstream.items():
        needed >> operators[task_id]
    if not keep_intermediate and nodes:
        last = [task for task in operators.values() if not task.downstream_task_ids]
        *_, task_id = unique_ids([*dag.task_group_dict, *operators, "remove_intermediate"])
        removal = operator_class(task_id=task_id, dag=dag)
        removal.pipeline = pipeline
        last >> removal
    return dag


class KedroOperator(BaseOperator):
    """Runs nodes of a Kedro pipeline in the task's own process.

    They are set after its creation: Airflow applies all defaults in each __init__ of an operator.
    A task without nodes removes the intermediate data of the DAG run.
    """

    ui_color = "#ffe36e"
    nodes: Sequence[Node] = ()
    pipeline: Pipeline

    def execute(self, context: Mapping[str, Any]) -> None:
        """Do this task's part of the DAG run in ``context``."""
        function, arguments = self.work(context)
        getattr(load_sibling("kedro_run"), function)(**arguments)

    def work(self, context: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
        """Name the function of kedro_run.py that does this task, and its arguments."""
        dag_run = context["dag_run"]
        run = {"pipeline": self.pipeline, "parameters": run_parameters(context, self.dag.params)}
        if not self.nodes:
            return "remove_intermediate", run
        version = run_version(dag_run.run_id, dag_run.run_after)
        return "run_nodes", {"nodes": self.nodes, "version": version, **run}


# The graph


def group_nodes(nodes: Sequence[Node], group_by: str) -> dict[str, list[Node]]:
    """Group nodes into tasks, in the pipeline's order.

    Groups that need each other would form a cycle and are joined into one.

    Returns:
        The nodes of each task under the task's id.
    """
    groups: dict[tuple[str, str], list[Node]] = {}
    for node in nodes:
        groups.setdefault(node.box(group_by), []).append(node)
    if len(groups) == len(nodes):
        ids = unique_ids(name for _, name in groups)
        return dict(zip(ids, groups.values(), strict=True))
    position = {node.name: number for number, node in enumerate(nodes)}
    joined = cycles(groups, dependencies(groups))
    ids = unique_ids("-".join(name for _, name in keys) for keys in joined)
    return {
        task_id: sorted(
            (node for key in keys for node in groups[key]), key=lambda node: position[node.name]
        )
        for task_id, keys in zip(ids, joined, strict=True)
    }


def task_groups(groups: Mapping[str, Sequence[Node]], dag: DAG) -> dict[str, TaskGroup]:
    """Put tasks of one node into Airflow's task groups: by namespace, or else by pipeline.

    Task groups that would need each other are left out, because Airflow refuses them.

    Returns:
        The task group of each task that has one, under the task's id.
    """
    boxes: dict[tuple[str, str], list[str]] = {}
    members: dict[tuple[str, str], list[Node]] = {}
    for task_id, group in groups.items():
        key = ("node", task_id)
        if len(group) == 1:
            key = group[0].box("namespace" if group[0].namespace else "pipeline")
        boxes.setdefault(key, []).append(task_id)
        members.setdefault(key, []).extend(group)
    if len(boxes) == len(groups):
        return {}
    alone = [keys[0] for keys in cycles(members, dependencies(members)) if len(keys) == 1]
    keys = [key for key in alone if key[0] != "node" and len(boxes[key]) > 1]
    ids = unique_ids([*groups, *(re.sub(r"[^\w-]+", "_", name) for _, name in keys)])[len(groups) :]
    found = {}
    for group_id, key in zip(ids, keys, strict=True):
        box = TaskGroup(group_id, prefix_group_id=False, dag=dag, tooltip=f"{key[0]} {key[1]}")
        found |= dict.fromkeys(boxes[key], box)
    return found


def dependencies(groups: Mapping[Key, Iterable[Node]]) -> set[tuple[Key, Key]]:
    """Find which group needs a dataset of which other one, as pairs (upstream, downstream)."""
    producer = {
        _dataset(output): name
        for name, group in groups.items()
        for node in group
        for output in node.outputs
    }
    return {
        (producer[_dataset(dataset)], name)
        for name, group in groups.items()
        for node in group
        for dataset in node.inputs
        if producer.get(_dataset(dataset), name) != name
    }


def cycles(names: Iterable[Key], edges: Iterable[tuple[Key, Key]]) -> list[list[Key]]:
    """Split a directed graph into its strongly connected components, in the order of ``names``.

    Source: Kosaraju's algorithm, without recursion.
    """
    order = {name: position for position, name in enumerate(names)}
    forward: dict[Key, list[Key]] = {name: [] for name in order}
    backward: dict[Key, list[Key]] = {name: [] for name in order}
    for upstream, downstream in edges:
        forward[upstream].append(downstream)
        backward[downstream].append(upstream)

    def visit(start: Key, graph: Mapping[Key, list[Key]], seen: set[Key]) -> list[Key]:
        seen.add(start)
        finished, stack = [], [(start, iter(graph[start]))]
        while stack:
            name, following = stack[-1]
            for other in following:
                if other not in seen:
                    seen.add(other)
                    stack.append((other, iter(graph[other])))
                    break
            else:
                stack.pop()
                finished.append(name)
        return finished

    seen: set[Key] = set()
    finished = [
        name for start in order if start not in seen for name in visit(start, forward, seen)
    ]
    seen = set()
    components = [
        sorted(visit(start, backward, seen), key=order.__getitem__)
        for start in reversed(finished)
        if start not in seen
    ]
    return sorted(components, key=lambda component: order[component[0]])


# Names and settings


def slug(name: str) -> str:
    """Make ``name`` an id for Airflow: letters, digits, dashes, dots, underscores, at most 200."""
    return re.sub(r"[^\w.-]+", "_", name).strip("_")[:200] or "_"


def unique_ids(names: Iterable[str]) -> list[str]:
    """Make a different id for Airflow of each name."""
    ids: dict[str, None] = {}
    numbers: dict[str, int] = {}
    for name in names:
        first = candidate = slug(name)
        while candidate in ids:
            numbers[first] = numbers.get(first, 1) + 1
            candidate = f"{first}_{numbers[first]}"
        ids[candidate] = None
    return list(ids)


def run_version(run_id: str, run_after: datetime) -> str:
    """Name the version that all tasks of a DAG run save: unique, and sorted by time."""
    unique = hashlib.sha256(run_id.encode()).hexdigest()[:8]
    return f"{run_after.astimezone(timezone.utc):%Y-%m-%dT%H.%M.%S.%f}Z-{unique}"


def _dataset(name: str) -> str:
    """Drop the format that a transcoded dataset carries: table@pandas is table."""
    return name.split("@")[0]


def node_doc(node: Node) -> str:
    """Describe a node in Markdown: its docstring, inputs and outputs."""
    doc = f"{node.doc}\n\n" if node.doc else ""
    ends = f"- inputs: {_names(node.inputs)}\n- outputs: {_names(node.outputs)}"
    return f"### {node.name}\n\n{doc}{ends}"


def dag_doc(package_name: str, pipeline_name: str, env: str, nodes: Sequence[Node]) -> str:
    """Describe the pipeline in Markdown: what it reads, what it leaves, and its nodes."""
    produced, consumed = _outputs(nodes), _inputs(nodes)
    rows = [f"| {node.name} | {_names(node.inputs)} | {_names(node.outputs)} |" for node in nodes]
    return "\n".join(
        [
            f"Kedro pipeline `{pipeline_name}` of `{package_name}`, environment `{env}`.",
            "",
            f"- reads: {_names(sorted(consumed - produced))}",
            f"- leaves: {_names(sorted(produced - consumed))}",
            "",
            "| node | inputs | outputs |",
            "|---|---|---|",
            *rows,
        ]
    )


def _names(datasets: Iterable[str]) -> str:
    return ", ".join([f"`{name}`" for name in datasets]) or "none"


def assets_of(
    package_name: str, datasets: Iterable[str], without: Collection[str] = ()
) -> dict[str, Asset]:
    """Name the assets of datasets, parameters aside: PACKAGE.DATASET in every run.

    The URI is the name, so that ``Asset("PACKAGE.DATASET")`` in another DAG is the same asset.
    """
    names = {_dataset(name) for name in datasets if not name.startswith("params:")}
    return {
        name: Asset(f"{package_name}.{quote(name, safe='')}")
        for name in names - {"parameters"} - set(without)
    }


def _choose(assets: Mapping[str, Asset], datasets: Iterable[str]) -> list[Asset]:
    names = {_dataset(name) for name in datasets}
    return [assets[name] for name in sorted(names) if name in assets]


def _inputs(nodes: Iterable[Node]) -> set[str]:
    return {dataset for node in nodes for dataset in node.inputs}


def _outputs(nodes: Iterable[Node]) -> set[str]:
    return {dataset for node in nodes for dataset in node.outputs}


def _param(default: Any, choices: list | None = None, **schema: Any) -> Param:
    return Param(default, **schema, **({"enum": choices} if choices else {}))


def _callback(path: str, project_path: Path) -> Callable[[Any], Any]:
    """Import a callback when it is called: from the project's src/ or from anywhere else."""

    def call(context: Any) -> Any:
        source = str(project_path / "src")
        if source not in sys.path:
            sys.path.append(source)
        module, _, name = path.rpartition(".")
        return getattr(importlib.import_module(module), name)(context)

    return call


# What happens in a task


def load_sibling(name: str) -> ModuleType:
    """Import a file beside this one, under a name of the project's own."""
    own_name = __name__.replace("kedro_dag", name)
    if own_name not in sys.modules:
        spec = spec_from_file_location(own_name, Path(__file__).with_name(f"{name}.py"))
        sys.modules[own_name] = module_from_spec(spec)
        spec.loader.exec_module(sys.modules[own_name])
    return sys.modules[own_name]


def run_parameters(context: Mapping[str, Any], form: Collection[str]) -> dict[str, Any]:
    """Collect what the DAG run gives to Kedro's parameters.

    The fields of the trigger form replace parameters of their names. ``airflow`` tells about the
    run: its run_id, the folder of its intermediate data, and in ISO format its logical_date,
    data_interval_start and data_interval_end, None where the run has none.

    Raises:
        AirflowFailException: the run's conf has more than the form, or what is no value.
    """
    dag_run = context["dag_run"]
    folder = quote(dag_run.run_id, safe="")
    if not folder.strip("."):  # neither this folder nor the one above
        folder = folder.replace(".", "%2E")
    parameters: dict[str, Any] = {}
    for name, value in context["params"].items():
        if name not in form:
            raise AirflowFailException(
                f"The conf of this run has {name!r}, which is no field of the DAG's form: list it "
                "in `params` of airflow.yml and run `make dag`, or trigger a run without it."
            )
        for scalar in _scalars(value):
            if scalar == "???" or (isinstance(scalar, float) and not math.isfinite(scalar)):
                raise AirflowFailException(
                    f"The conf of this run gives {name!r} {scalar!r}, which is no value for Kedro."
                )
        *path, last = name.split(".")
        place = parameters
        for part in path:
            place = place.setdefault(part, {})
        place[last] = value
    times = {
        name: getattr(dag_run, name, None)
        for name in ("logical_date", "data_interval_start", "data_interval_end")
    }
    parameters["airflow"] = {
        "run_id": dag_run.run_id,
        "folder": folder,
        **{name: time.isoformat() if time else None for name, time in times.items()},
    }
    return parameters


def _scalars(value: Any) -> Iterator[Any]:
    """Take a value of JSON apart: its texts, numbers, booleans and nulls."""
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from _scalars(item)
    else:
        yield value
