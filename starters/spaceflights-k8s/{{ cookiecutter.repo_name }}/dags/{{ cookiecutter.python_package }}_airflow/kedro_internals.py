"""The parts of Kedro's datasets that are not public and that this project needs, in one place.

`_version`, `_filepath`, `_get_load_path` and `_get_save_path` belong to `AbstractVersionedDataset`.
By convention, datasets of kedro-datasets that use fsspec have `_fs`; others are left alone.
"""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Any
from uuid import uuid4


def pin_version(dataset: Any, version: str) -> bool:
    """Make a versioned dataset load and save this version; return whether it is versioned.

    Kedro's public `load_versions=` refuses datasets that only a catch-all factory matches.
    """
    from kedro.io import Version

    if not getattr(dataset, "_version", None):
        return False
    dataset._version = Version(version, version)
    return True


def path_parts(dataset: Any) -> tuple[str, ...]:
    """Split the path that a dataset is stored at, if it uses fsspec."""
    return PurePosixPath(dataset._filepath).parts if hasattr(dataset, "_fs") else ()


def remove_folder(dataset: Any, name: str) -> str | None:
    """Remove the folder with this name that a dataset is stored in, and return its path."""
    parts = path_parts(dataset)
    if name not in parts:
        return None
    folder = str(PurePosixPath(*parts[: parts.index(name) + 1]))
    if not dataset._fs.exists(folder):
        return None
    dataset._fs.rm(folder, recursive=True)
    return folder


def save_whole(dataset: Any) -> None:
    """Remove what an earlier try saved, and hide new data until it is complete.

    On a disk, it is written next to its place under another name, and then renamed. In an object
    store, an object appears when it is closed, even by an error halfway: then it is removed.
    """
    from fsspec.implementations.local import LocalFileSystem

    if not hasattr(dataset, "_fs"):
        return
    fs, path, save = dataset._fs, dataset._get_load_path(), dataset.save

    def remove(*names: Any) -> None:
        for name in map(str, names):
            if fs.exists(name):
                fs.rm(name, recursive=True)

    if isinstance(fs, LocalFileSystem):
        unfinished = path.with_name(f"{path.stem}.unfinished-{uuid4().hex}{path.suffix}")
        remove(*fs.glob(str(path.with_name(f"{path.stem}.unfinished-*"))))
        dataset._get_save_path = lambda: unfinished

        def save_whole(data: Any) -> None:
            save(data)
            fs.mv(str(unfinished), str(path))
    else:

        def save_whole(data: Any) -> None:
            try:
                save(data)
            except BaseException:
                remove(path)
                raise

    remove(path)
    dataset.save = save_whole
