"""Turn the nodes of a Kedro pipeline into an Airflow DAG.

The DAG files beside this one hold data: the settings of airflow.yml and the pipeline's nodes. The
logic is here. Kedro and the project are imported inside the tasks only, so that Airflow reads the
DAG fast and its own processes never see the project's code.
"""

from __future__ import annotations

import hashlib
import logging.config
import os
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta, timezone
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

from airflow.sdk import DAG, BaseOperator

Key = TypeVar("Key")


@dataclass(frozen=True)
class Node:
    """A node of the Kedro pipeline, by names only.

    ``pipeline`` is the folder in pipelines/ that holds the node's function, None for any other.
    """

    name: str
    inputs: Sequence[str]
    outputs: Sequence[str]
    tags: Sequence[str] = ()
    namespace: str | None = None
    pipeline: str | None = None


def create_dag(
    *,
    dag_file: str,
    package_name: str,
    pipeline_name: str,
    env: str,
    settings: Mapping[str, Any],
    nodes: Sequence[Node],
) -> DAG:
    """Create the DAG that runs ``nodes`` with the Kedro environment ``env``.

    The project is the folder above the one that holds ``dag_file``, wherever Airflow is started.

    Raises:
        ValueError: a setting of airflow.yml has a value that it cannot take.
    """
    for key, (accepts, words) in ACCEPTED.items():
        if not accepts(settings[key]):
            raise ValueError(_refused(key, settings[key], words))
    dag_id = package_name if pipeline_name == "__default__" else f"{package_name}-{pipeline_name}"
    dag = DAG(
        dag_id=slug(dag_id),
        schedule=settings["schedule"],
        start_date=parse_date(settings["start_date"]),
        catchup=settings["catchup"],
        max_active_runs=settings["max_active_runs"],
        dagrun_timeout=minutes(settings["dagrun_timeout"]),
        tags=settings["tags"],
        default_args={
            "owner": settings["owner"],
            "retries": settings["retries"],
            "retry_delay": minutes(settings["retry_delay"]),
            "execution_timeout": minutes(settings["execution_timeout"]),
        },
    )
    groups = group_nodes(nodes, settings["group_by"])
    produced = {dataset for node in nodes for dataset in node.outputs}
    tasks = {
        task_id: KedroOperator(
            task_id=task_id,
            dag=dag,
            nodes=group,
            produced=produced,
            project_path=Path(dag_file).resolve().parent.parent,
            pipeline_name=pipeline_name,
            env=env,
        )
        for task_id, group in groups.items()
    }
    for upstream, downstream in dependencies(groups):
        tasks[upstream] >> tasks[downstream]
    return dag


class KedroOperator(BaseOperator):
    """Runs nodes of a Kedro pipeline in the task's own process."""

    ui_color = "#ffe36e"

    def __init__(
        self,
        *,
        nodes: Sequence[Node],
        produced: Collection[str],
        project_path: Path,
        pipeline_name: str,
        env: str,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.nodes = nodes
        self.produced = produced
        self.project_path = project_path
        self.pipeline_name = pipeline_name
        self.env = env

    def execute(self, context: Mapping[str, Any]) -> None:
        """Run the nodes as a part of the DAG run in ``context``."""
        dag_run = context["dag_run"]
        run_nodes(
            nodes=self.nodes,
            produced=self.produced,
            project_path=self.project_path,
            pipeline_name=self.pipeline_name,
            env=self.env,
            run_id=dag_run.run_id,
            version=run_version(dag_run.run_id, dag_run.run_after),
        )


# The graph


def group_nodes(nodes: Sequence[Node], group_by: str) -> dict[str, list[Node]]:
    """Group nodes into tasks, in the pipeline's order.

    Groups that need each other would form a cycle and are joined into one.

    Returns:
        The nodes of each task under the task's id.
    """
    groups: dict[tuple[str, str], list[Node]] = {}
    for node in nodes:
        by_pipeline = group_by == "pipeline" and node.pipeline
        key = ("pipeline", node.pipeline) if by_pipeline else ("node", node.name)
        groups.setdefault(key, []).append(node)
    position = {node.name: number for number, node in enumerate(nodes)}
    joined = cycles(groups, dependencies(groups))
    ids = unique_ids("-".join(name for _, name in keys) for keys in joined)
    return {
        task_id: sorted(
            (node for key in keys for node in groups[key]), key=lambda node: position[node.name]
        )
        for task_id, keys in zip(ids, joined, strict=True)
    }


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
    for name in names:
        first = candidate = slug(name)
        number = 2
        while candidate in ids:
            candidate = f"{first}_{number}"
            number += 1
        ids[candidate] = None
    return list(ids)


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_minutes(value: Any) -> bool:
    return _is_count(value) or isinstance(value, float) and value >= 0


# What a setting of airflow.yml may be: a test, and the same in words.
ACCEPTED: dict[str, tuple[Callable[[Any], bool], str]] = {
    "schedule": (lambda value: value is None or isinstance(value, str), "cron, a preset, or null"),
    "catchup": (lambda value: isinstance(value, bool), "true or false"),
    "max_active_runs": (lambda value: _is_count(value) and value > 0, "a whole number from 1"),
    "tags": (
        lambda value: isinstance(value, list) and all(isinstance(tag, str) for tag in value),
        "a list of texts, such as [kedro]",
    ),
    "owner": (lambda value: isinstance(value, str), "a text"),
    "retries": (_is_count, "a whole number"),
    "retry_delay": (_is_minutes, "a number of minutes"),
    "execution_timeout": (lambda value: value is None or _is_minutes(value), "minutes, or null"),
    "dagrun_timeout": (lambda value: value is None or _is_minutes(value), "minutes, or null"),
    "group_by": (lambda value: value in ("none", "pipeline"), "none or pipeline"),
}


def parse_date(value: Any) -> datetime | None:
    """Read start_date, in UTC unless it names an offset."""
    try:
        if value is None:
            return None
        if isinstance(value, str):
            value = datetime.fromisoformat(value)
        elif not isinstance(value, date):
            value = datetime(*value)
        elif not isinstance(value, datetime):
            value = datetime(value.year, value.month, value.day)
    except (TypeError, ValueError):
        accepted = "a date such as 2024-01-31, or null"
        raise ValueError(_refused("start_date", value, accepted)) from None
    return value if value.tzinfo else value.replace(tzinfo=timezone.utc)


def minutes(value: float | None) -> timedelta | None:
    """Read a duration in minutes."""
    return None if value is None else timedelta(minutes=value)


def run_version(run_id: str, run_after: datetime) -> str:
    """Name the version that all tasks of a DAG run save: unique, and sorted by time."""
    unique = hashlib.sha256(run_id.encode()).hexdigest()[:8]
    return f"{run_after.astimezone(timezone.utc):%Y-%m-%dT%H.%M.%S.%f}Z-{unique}"


def _dataset(name: str) -> str:
    """Drop the format that a transcoded dataset carries: table@pandas is table."""
    return name.split("@")[0]


def _refused(key: str, value: Any, accepted: str) -> str:
    return f"conf/airflow/airflow.yml: {key}: {value!r} is not {accepted}; then run `make dag`"


# The run: everything below happens in a task


def run_nodes(
    *,
    nodes: Sequence[Node],
    produced: Collection[str],
    project_path: Path,
    pipeline_name: str,
    env: str,
    run_id: str,
    version: str,
) -> None:
    """Run nodes of a Kedro pipeline.

    Args:
        nodes: what to run.
        produced: the datasets that the whole DAG writes; they are read in this run's version.
        run_id: id of the DAG run; conf/airflow/catalog.yml names the run's folder after it.
        version: the version under which versioned datasets are saved.

    Raises:
        ValueError: the project's pipelines no longer have these nodes.
    """
    os.environ["DO_NOT_TRACK"] = "1"
    config = project_path / "conf" / "logging.yml"
    if config.is_file():
        os.environ["KEDRO_LOGGING_CONFIG"] = str(config)
    _leave_handlers_to_airflow()

    from kedro.framework.project import pipelines
    from kedro.framework.session import KedroServiceSession
    from kedro.framework.startup import bootstrap_project

    bootstrap_project(project_path)
    session = KedroServiceSession.create(project_path=project_path, env=env)
    session.run(
        pipeline_names=_needed_pipelines(pipelines, nodes, pipeline_name),
        node_names=[node.name for node in nodes],
        runner=_runner(produced, version),
        run_id=version,
        runtime_params={"airflow": {"run_id": quote(run_id, safe="")}},
    )


def _leave_handlers_to_airflow() -> None:
    """Let logging.yml set levels only: the handlers that Airflow has given the task stay."""
    configure = logging.config.dictConfig

    def set_levels(config: dict[str, Any]) -> None:
        levels = {name: {"level": logger["level"]} for name, logger in config["loggers"].items()}
        configure({"version": 1, "incremental": True, "loggers": levels})

    logging.config.dictConfig = set_levels


def _needed_pipelines(registry: Any, nodes: Sequence[Node], pipeline_name: str) -> list[str]:
    """Choose the pipelines to load: those that hold the nodes, or else the DAG's own pipeline."""

    def missing(names: list[str]) -> list[str]:
        registry.set_requested(names)
        loaded = {node.name: node for name in names for node in registry[name].nodes}
        return [
            node.name
            for node in nodes
            if node.name not in loaded
            or list(node.inputs) != loaded[node.name].inputs
            or list(node.outputs) != loaded[node.name].outputs
        ]

    folders = list(dict.fromkeys(node.pipeline for node in nodes))
    if None not in folders:
        try:
            if not missing(folders):
                return folders
        except Exception:  # e.g. registered under another name, or built from other pipelines
            logging.getLogger(__name__).debug("Loading all pipelines", exc_info=True)
    if changed := missing([pipeline_name]):
        raise ValueError(f"Changed since the DAG was written: {changed}. Run `make dag`.")
    return [pipeline_name]


def _runner(produced: Collection[str], version: str) -> Any:
    """Create a runner that reads what this DAG run wrote, and can write it again in a retry."""
    from kedro.io import AbstractVersionedDataset, Version
    from kedro.runner import SequentialRunner

    class Runner(SequentialRunner):
        def run(self, pipeline: Any, catalog: Any, *args: Any, **kwargs: Any) -> Any:
            for name in pipeline.datasets() & set(produced):
                dataset = catalog.get(name)
                if isinstance(dataset, AbstractVersionedDataset) and dataset._version:
                    dataset._version = Version(version, version)
                    if name in pipeline.all_outputs() and dataset.exists():
                        dataset._fs.rm(str(dataset._get_load_path()), recursive=True)
            return super().run(pipeline, catalog, *args, **kwargs)

    return Runner()
