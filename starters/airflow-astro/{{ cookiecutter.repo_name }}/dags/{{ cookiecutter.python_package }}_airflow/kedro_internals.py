"""The parts of Kedro's datasets that are not public and that this project needs, in one place.

`_init_args` belongs to every dataset, `_version` to versioned ones, `_dataset` to CachedDataset,
`_list_partitions` to PartitionedDataset. By convention, a dataset that uses fsspec has its file
system in `_fs` or `_filesystem`.
"""

from __future__ import annotations

import os
from inspect import signature
from pathlib import PurePosixPath
from typing import Any


def inner(dataset: Any) -> Any:
    """Return the dataset that a CachedDataset wraps, and any other as it is."""
    from kedro.io import CachedDataset

    return dataset._dataset if isinstance(dataset, CachedDataset) else dataset


def pin_version(dataset: Any, version: str) -> bool:
    """Make a versioned dataset load and save this version; return whether it is versioned.

    Kedro's public `load_versions=` refuses datasets that only a catch-all factory matches.
    """
    from kedro.io import Version

    if not getattr(dataset, "_version", None):
        return False
    dataset._version = Version(version, version)
    return True


def arguments(dataset: Any) -> dict[str, Any]:
    """Return the arguments that a dataset was created with."""
    given = dict(getattr(dataset, "_init_args", {}))
    init = signature(type(dataset))
    if given.keys() == {"args", "kwargs"}:  # of a subclass without a constructor of its own
        bound = init.bind(*given["args"], **given["kwargs"])
        bound.apply_defaults()
        given = bound.arguments
    for parameter in init.parameters.values():
        if parameter.kind is parameter.VAR_KEYWORD:
            given |= given.pop(parameter.name, {})
    return given


def place(dataset: Any) -> tuple[Any, str] | None:
    """Find where a dataset is stored, in its version if that is pinned.

    Returns:
        Its file system (of fsspec) and path, or None if it has no file, like a database's table.
    """
    from fsspec import AbstractFileSystem
    from fsspec.core import url_to_fs

    given = arguments(dataset)
    path = given.get("filepath", given.get("path"))
    if not isinstance(path, str | os.PathLike):
        return None
    fs = getattr(dataset, "_fs", None) or getattr(dataset, "_filesystem", None)
    try:
        if not isinstance(fs, AbstractFileSystem):
            fs, _ = url_to_fs(str(path), **given.get("credentials") or {})
    except (ImportError, TypeError, ValueError):  # e.g. a URL that fsspec does not know
        return None
    stored = PurePosixPath(fs._strip_protocol(str(path)))
    if version := getattr(dataset, "_version", None):
        stored = stored / str(version.save) / stored.name
    return fs, str(stored)


def elsewhere(dataset: Any, fs: Any, path: str) -> Any:
    """Create a dataset like this one, without versions, at another path of its file system."""
    given = arguments(dataset)
    key = "filepath" if "filepath" in given else "path"
    scheme, separator, _ = str(given[key]).rpartition("://")
    empty = {name: None for name in ("checkpoint", "version") if name in given}
    return type(dataset)(**given | empty | {key: f"{scheme}{separator}{path}"})


def hide(dataset: Any, part: str) -> None:
    """Make a PartitionedDataset overlook all paths that contain ``part``."""
    if listed := getattr(dataset, "_list_partitions", None):
        dataset._list_partitions = lambda: [path for path in listed() if part not in path]
