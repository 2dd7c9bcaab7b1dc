"""What a DAG is made of, by names only: nodes, tasks, and what a task does in a run."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass
class Node:
    """A node of the Kedro pipeline; ``pipeline`` is the folder in pipelines/ with its function."""

    name: str
    inputs: Sequence[str] = ()
    outputs: Sequence[str] = ()
    pipeline: str | None = None
    doc: str | None = None


@dataclass
class Task:
    """Nodes that run together; without any, it removes the intermediate data of the run.

    ``after`` are the tasks that it waits for, ``group`` is the task group that shows it, and
    ``settings`` come before the DAG's ``default_args``.
    """

    id: str
    nodes: Sequence[Node] = ()
    after: Sequence[str] = ()
    group: str | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass
class Run:
    """What a task does in a DAG run.

    ``written`` are the datasets that the whole DAG writes, all of this run in one ``version``.
    """

    package: str
    pipeline: str
    env: str
    conf_source: str | None
    written: Sequence[str]
    nodes: Sequence[Node] = ()
    parameters: Mapping[str, Any] = field(default_factory=dict)
    version: str = ""

    def to_json(self) -> str:
        """Write it as text, for another process."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Run:
        """Read what ``to_json`` has written."""
        given = json.loads(text)
        return cls(**given | {"nodes": [Node(**node) for node in given["nodes"]]})


def stored_name(dataset: str) -> str:
    """Drop the format that a transcoded dataset carries: table@pandas is table."""
    return dataset.split("@")[0]
