"""What a DAG consists of, as plain names: nodes, tasks, and what a task does in a run."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass
class Node:
    """A Kedro node; ``pipeline`` is the folder in pipelines/ that its function is in."""

    name: str
    inputs: Sequence[str] = ()
    outputs: Sequence[str] = ()
    pipeline: str | None = None
    doc: str | None = None


@dataclass
class Task:
    """Nodes that run together; a task without nodes removes the run's intermediate data.

    ``after`` are the tasks it waits for, ``group`` is the task group it is shown in, and
    ``settings`` override the DAG's ``default_args``.
    """

    id: str
    nodes: Sequence[Node] = ()
    after: Sequence[str] = ()
    group: str | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass
class Run:
    """What a task does in a DAG run.

    ``written`` are the datasets that the whole DAG writes, in a run all with one ``version``.
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
        """Serialize it for another process."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Run:
        """Read what ``to_json`` wrote."""
        given = json.loads(text)
        return cls(**given | {"nodes": [Node(**node) for node in given["nodes"]]})


def stored_name(dataset: str) -> str:
    """Drop the format from the name of a transcoded dataset: table@pandas is table."""
    return dataset.split("@")[0]
