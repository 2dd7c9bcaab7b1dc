"""Saves datasets whole: under another name, until the node that saves them is done.

A file then replaces the old one in one step. In a folder, files take their places one by one, and
a mark beside it keeps tasks from reading it until the last one has.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import PurePosixPath
from typing import Any
from uuid import uuid4

from .kedro_internals import arguments, elsewhere, hide, inner, place

UNFINISHED = ".unfinished-"


class Output:
    """A dataset that a node saves, stored at ``path`` of a file system of fsspec.

    Args:
        run: the version of the DAG run, which names what it has not finished.
        own: whether no other run uses the dataset: what an earlier try saved is removed.
    """

    def __init__(self, dataset: Any, fs: Any, path: str, run: str, own: bool) -> None:
        from fsspec.implementations.local import LocalFileSystem

        self.dataset, self.fs, self.path, self.own = dataset, fs, path, own
        self.on_disk = isinstance(fs, LocalFileSystem)
        self.unfinished = f"{UNFINISHED}{run}-"
        self.folder = str(PurePosixPath(path).with_name(f"{self.unfinished}{uuid4().hex}"))
        self.new = f"{self.folder}/{PurePosixPath(path).name}"
        self.mark = mark_of(path)
        self.save = elsewhere(dataset, fs, self.new).save
        self.adds = not own and not arguments(dataset).get("overwrite", True)

    def start(self) -> None:
        """Remove what an earlier try left, and let the dataset save under another name."""
        parent, name = PurePosixPath(self.path).parent, PurePosixPath(self.path).name
        beside = self.fs.ls(str(parent), detail=False) if self.fs.exists(str(parent)) else []
        for path in beside:
            if self.unfinished in path and self.fs.exists(f"{path}/{name}"):
                self.fs.rm(path, recursive=True)
        if self.own and self.fs.exists(self.path):
            self.fs.rm(self.path, recursive=True)
        if self.on_disk:
            self.fs.makedirs(self.folder)
        self.dataset.save = self.save

    def finish(self) -> None:
        """Move what the node has saved to its place."""
        fs = self.fs
        if not fs.exists(self.new):
            return self.stop()
        if fs.isfile(self.new) and not fs.isdir(self.path):
            fs.mv(self.new, self.path)
        else:
            fs.pipe_file(self.mark, b"A task is moving files into the folder beside this one.\n")
            if not self.adds and fs.exists(self.path):
                fs.rm(self.path, recursive=True)
            for file in fs.find(self.new):
                target = self.path + file.removeprefix(self.new)
                if self.on_disk:
                    fs.makedirs(str(PurePosixPath(target).parent), exist_ok=True)
                fs.mv(file, target)
        if fs.exists(self.mark):
            fs.rm(self.mark)
        self.stop()

    def stop(self) -> None:
        """Remove what has not been moved, and let the dataset save as before."""
        vars(self.dataset).pop("save", None)
        self.dataset.release()
        if self.fs.exists(self.folder):
            self.fs.rm(self.folder, recursive=True)


def output(dataset: Any, run: str, own: bool) -> Output | None:
    """Prepare to save a dataset whole; None if it has to save as it does without Airflow.

    That is a dataset without a file, or that cannot be created with another path. Where the data
    belongs to no run, it is also one that appends, or whose format has its own transactions.
    """
    dataset = inner(dataset)
    given = arguments(dataset)
    found = place(dataset)
    keeps = "delta" in f"{type(dataset).__name__} {given.get('file_format')}".lower()
    if not found or (not own and (keeps or appends(given))):
        return None
    try:
        return Output(dataset, *found, run, own)
    except Exception:  # a constructor that is not ours
        logging.getLogger(__name__).debug("Cannot create %s elsewhere", dataset, exc_info=True)
        return None


@contextmanager
def saved_whole(outputs: Sequence[Output]) -> Iterator[None]:
    """Save datasets when the block ends, and nothing if it fails."""
    try:
        for each in outputs:
            each.start()
        yield
        for each in outputs:
            each.finish()
    except BaseException:
        for each in outputs:
            try:
                each.stop()
            except Exception:  # the storage is why it has failed
                logging.getLogger(__name__).warning("Left %s", each.folder, exc_info=True)
        raise


def refuse_unfinished(dataset: Any) -> None:
    """Make a dataset refuse to load files that a task did not finish saving."""
    from kedro.io import DatasetError

    dataset = inner(dataset)
    if not (found := place(dataset)):
        return
    fs, path = found
    load = dataset.load

    def load_finished() -> Any:
        if fs.exists(mark_of(path)):
            raise DatasetError(
                f"{path} is not complete: the task that saves it was killed, or is not done yet. "
                "Clear that task, or wait for it."
            )
        return load()

    dataset.load = load_finished
    hide(dataset, f"/{UNFINISHED}")


def remove_folder(dataset: Any, name: str) -> str | None:
    """Remove the folder with this name that a dataset is stored in, and return its path."""
    fs, path = place(inner(dataset)) or (None, "")
    parts = PurePosixPath(path).parts
    if fs is None or name not in parts:
        return None
    folder = str(PurePosixPath(*parts[: parts.index(name) + 1]))
    if not fs.exists(folder):
        return None
    fs.rm(folder, recursive=True)
    return folder


def belongs_to(dataset: Any, folder: str) -> bool:
    """Return whether a dataset is stored in the folder of a run."""
    found = place(inner(dataset))
    return found is not None and folder in PurePosixPath(found[1]).parts


def mark_of(path: str) -> str:
    """Name the mark beside a folder that is not complete."""
    return str(PurePosixPath(path).with_name(UNFINISHED + PurePosixPath(path).name))


def appends(given: Mapping[str, Any]) -> bool:
    """Return whether the arguments of a dataset make it append to what it has saved before."""
    return any(
        appends(value) if isinstance(value, Mapping) else key == "mode" and str(value)[:1] == "a"
        for key, value in given.items()
    )
