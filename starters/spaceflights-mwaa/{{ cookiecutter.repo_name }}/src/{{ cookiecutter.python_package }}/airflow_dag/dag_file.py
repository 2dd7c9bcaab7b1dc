"""The text of a DAG file: the DAG's settings and tasks, as data."""

from collections.abc import Iterable, Sequence
from dataclasses import MISSING, fields, is_dataclass
from textwrap import indent
from typing import Any

import click
from kedro.pipeline import GroupedNodes, Pipeline

from .graph import passed_on, removal, slug, tasks_of
from .settings import TABLES, Settings

TEXT = '''"""Airflow DAG of the Kedro pipeline {pipeline}.

Written by `kedro airflow create`. Change the pipelines or conf/{env}/airflow.yml, not this file.
"""

import datetime
import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parent))  # in case Airflow's DAGs folder is further up
from {package}_airflow.{module} import create_dag
from {package}_airflow.model import Node, Task

tasks = {tasks}

{note}dag = {call}
'''


def dag_file(
    settings: Settings,
    shared: set[str],
    leaves: dict[str, list[str]],
    grouped: bool,
    name: str,
    pipeline: Pipeline,
    groups: Sequence[GroupedNodes],
    package: str,
    env: str,
    conf_source: str,
) -> str:
    """Write the DAG file for the pipeline with this name.

    Args:
        shared: the datasets that all runs store in the same place.
        leaves: the datasets that a run leaves, by where they are.
        grouped: whether ``groups`` come from the command line and override airflow.yml.
    """
    group_by: dict[str, str] | str = settings.graph.get("group_by", "none")
    if grouped:
        group_by = {node: group.name for group in groups for node in group.nodes}
    tasks = tasks_of(pipeline, package, group_by, settings.tasks)
    if tasks and not settings.graph.get("keep_intermediate", True):
        tasks.append(removal(tasks))
    parts = [package]
    parts += [name] if name != "__default__" else []
    parts += [env] if env != "airflow" else []
    arguments: dict[str, Any] = {"package": package, "pipeline": name, "env": env}
    arguments |= {"conf_source": conf_source} if conf_source else {}
    arguments |= {"leaves": leaves} if leaves else {}
    arguments |= settings.dag | {"default_args": settings.task, "params": settings.form}
    dag_id, note = slug("-".join(parts)), ""
    if not tasks:
        note = "# No nodes yet: add a pipeline, and run `make dag`.\n"
    if mixed := ", ".join(sorted(shared & passed_on(tasks))):
        arguments["max_active_runs"] = 1
        note = f"# One run at a time, because all runs store these in one place: {mixed}\n"
        click.secho(f"{dag_id}: {note.removeprefix('# ')}", fg="yellow", nl=False, err=True)
    words = [f"{key}={source(value)}" for key, value in arguments.items()]
    return TEXT.format(
        package=package,
        pipeline=name,
        env=env,
        module=TABLES["create_dag"]["module"],
        tasks=bracket("[", map(source, tasks), "]"),
        note=note,
        call=bracket("create_dag(", [repr(dag_id), "tasks=tasks", *words], ")"),
    )


def source(value: Any) -> str:
    """Write a value as Python; a dataclass as a call, without its empty optional fields."""
    if is_dataclass(value):
        given = {part.name: source(getattr(value, part.name)) for part in fields(value)}
        needed = [given.pop(part.name) for part in fields(value) if part.default is MISSING]
        if len(line := ", ".join(needed)) <= 80 and "\n" not in line:
            needed = [line]
        more = [f"{key}={part}" for key, part in given.items() if getattr(value, key)]
        return bracket(f"{type(value).__name__}(", [*needed, *more], ")")
    if isinstance(value, dict):
        return bracket("{", (f"{key!r}: {source(item)}" for key, item in value.items()), "}")
    return bracket("[", map(source, value), "]") if isinstance(value, list) else repr(value)


def bracket(start: str, parts: Iterable[str], end: str) -> str:
    """Write parts between brackets: on one line if that is short, else one per line."""
    parts = list(parts)
    line = f"{start}{', '.join(parts)}{end}"
    if len(parts) < 2 or (len(line) <= 80 and "\n" not in line):
        return line
    lines = "".join(f"{part},\n" for part in parts)
    return f"{start}\n{indent(lines, '    ')}{end}"
