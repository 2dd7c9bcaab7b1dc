"""Turn the nodes of a pipeline into tasks of a DAG: what runs together, and in which order."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from inspect import cleandoc
from itertools import chain, count
from typing import Any

import click
from kedro.pipeline import Pipeline
from kedro.pipeline.node import Node as KedroNode


@dataclass
class Node:
    """A node as it is written in the DAG file; see model.py."""

    name: str
    inputs: list[str]
    outputs: list[str]
    pipeline: str | None = None
    doc: str = ""


@dataclass
class Task:
    """A task as it is written in the DAG file; see model.py."""

    id: str
    nodes: list[Node]
    after: Sequence[str] = ()
    group: str | None = None
    settings: Mapping[str, Any] | None = None


def tasks_of(
    pipeline: Pipeline,
    package: str,
    group_by: Mapping[str, str] | str,
    settings: Mapping[str, Mapping[str, Any]],
) -> list[Task]:
    """Group nodes into tasks, in the pipeline's order.

    Args:
        group_by: none, pipeline, namespace or tag:PREFIX; or each node's group, by node name.
        settings: for each selector, the settings of tasks with a node that it matches.
    """
    needs = pipeline.node_dependencies
    labels = {
        node: label(node, package, group_by)
        if isinstance(group_by, str)
        else ("group", group_by[node.name])
        for node in pipeline.nodes
    }
    joined = join_cycles(labels, needs)
    keys = list(dict.fromkeys(joined.values()))
    ids = unique_ids("-".join(name for _, name in key) for key in keys)
    tasks = {key: Task(id, []) for key, id in zip(keys, ids, strict=True)}
    task_of = {node: tasks[key] for node, key in joined.items()}
    check_confirms(task_of)
    chosen: dict[str, set[str]] = {}
    for node, task in task_of.items():
        doc = node.func.__doc__ if isinstance(node.func.__doc__, str) else ""
        shown = folder(node, package)
        task.nodes.append(Node(node.name, node.inputs, node.outputs, shown, cleandoc(doc)))
        task.after = sorted({*task.after, *(task_of[each].id for each in needs[node])} - {task.id})
        chosen.setdefault(task.id, set()).update(selectors(node, package))
    for selector, given in settings.items():
        for task in tasks.values():
            if selector in chosen[task.id]:
                task.settings = {**(task.settings or {}), **given}
    show_in_groups(task_of, needs, package)
    return list(tasks.values())


def removal(tasks: list[Task]) -> Task:
    """Make the task that removes the run's intermediate data once all others have succeeded."""
    ids = [task.id for task in tasks]
    groups = dict.fromkeys(task.group for task in tasks if task.group)
    *_, id = unique_ids([*ids, *groups, "remove_intermediate"])
    return Task(
        id, [], after=sorted(set(ids) - {before for task in tasks for before in task.after})
    )


def passed_on(tasks: Iterable[Task]) -> set[str]:
    """Find the datasets that one task saves and another one loads."""
    nodes = [(task, node) for task in tasks for node in task.nodes]
    writers = {name.split("@")[0]: task for task, node in nodes for name in node.outputs}
    return {
        name
        for task, node in nodes
        for name in node.inputs
        if writers.get(name.split("@")[0], task) is not task
    }


def check_confirms(tasks: Mapping[KedroNode, Task]) -> None:
    """Refuse a node that confirms what another task has loaded.

    Raises:
        click.ClickException: names the node and the dataset.
    """
    for node, task in tasks.items():
        for name in node.confirms:
            if not any(name in other.inputs for other in tasks if tasks[other] is task):
                raise click.ClickException(
                    f"{node.name} confirms {name}, which another task loads: it would also confirm "
                    "what came in between. Put both nodes into one task: see group_by."
                )


def folder(node: KedroNode, package: str) -> str | None:
    """Name the folder in pipelines/ that holds the node's function."""
    module = (getattr(node.func, "__module__", None) or "").split(".")
    return module[2] if module[:2] == [package, "pipelines"] and len(module) > 2 else None


def selectors(node: KedroNode, package: str) -> set[str]:
    """List the keys in the ``tasks`` of airflow.yml that match this node."""
    names = {node.name, *(f"tag:{tag}" for tag in node.tags)}
    names |= {f"namespace:{name}" for name in node.namespace_prefixes}
    return names | ({f"pipeline:{name}"} if (name := folder(node, package)) else set())


def label(node: KedroNode, package: str, by: str) -> tuple[str, str]:
    """Return the kind and name of the node's group; a node without one is its own group."""
    if by == "pipeline" and (name := folder(node, package)):
        return by, name
    if by == "namespace" and node.namespace:
        return by, node.namespace.split(".")[0]
    for tag in sorted(node.tags) if by.startswith("tag:") else ():
        if tag.startswith(by.removeprefix("tag:")):
            return "tag", tag
    return "node", node.name


def join_cycles(
    labels: Mapping[KedroNode, Any], needs: Mapping[KedroNode, Iterable[KedroNode]]
) -> dict[KedroNode, tuple[Any, ...]]:
    """Join groups whose nodes need each other, as none can wait for itself.

    Returns:
        The labels of each node's group: several if groups were joined.
    """
    joined = {node: (name,) for node, name in labels.items()}
    while True:
        graph: dict[Any, set[Any]] = {}
        for node, group in joined.items():
            needed = {joined[each] for each in needs[node]}
            graph.setdefault(group, set()).update(needed - {group})
        try:
            TopologicalSorter(graph).prepare()
            return joined
        except CycleError as error:
            cycle = error.args[1]
            names = [name for group in joined.values() if group in cycle for name in group]
            one = tuple(dict.fromkeys(names))
            joined = {node: one if group in cycle else group for node, group in joined.items()}


def show_in_groups(
    tasks: Mapping[KedroNode, Task],
    needs: Mapping[KedroNode, Iterable[KedroNode]],
    package: str,
) -> None:
    """Put tasks with a single node into task groups: by namespace, or else by pipeline.

    Task groups that need each other are left out, because Airflow refuses them.
    """
    labels = {
        node: label(node, package, "namespace" if node.namespace else "pipeline")
        if len(task.nodes) == 1
        else ("task", task.id)
        for node, task in tasks.items()
    }
    members: dict[tuple[str, str], list[Task]] = {}
    for node, (key, *others) in join_cycles(labels, needs).items():
        if key[0] in ("namespace", "pipeline") and not others:
            members.setdefault(key, []).append(tasks[node])
    shown = {key: found for key, found in members.items() if len(found) > 1}
    ids = list(dict.fromkeys(task.id for task in tasks.values()))
    names = [re.sub(r"[^\w-]+", "_", name) for _, name in shown]
    for id, found in zip(unique_ids([*ids, *names])[len(ids) :], shown.values(), strict=True):
        for task in found:
            task.group = id


def slug(name: str) -> str:
    """Turn ``name`` into an Airflow id: at most 200 letters, digits, dashes, dots, underscores."""
    return re.sub(r"[^\w.-]+", "_", name).strip("_")[:200] or "_"


def unique_ids(names: Iterable[str]) -> list[str]:
    """Turn each name into an Airflow id of its own."""
    ids: dict[str, None] = {}
    for name in map(slug, names):
        numbered = (f"{name}_{number}" for number in count(2))
        ids[next(id for id in chain([name], numbered) if id not in ids)] = None
    return list(ids)
