"""What Kedro does not make public of its datasets and this project needs, in one place.

`_version`, `_filepath`, `_get_load_path` and `_get_save_path` are of `AbstractVersionedDataset`,
`_fs` is of all of kedro-datasets that is stored by fsspec. Any other dataset is left alone.
"""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Any
from uuid import uuid4


def pin_version(dataset: Any, version: str) -> bool:
    """Let a versioned dataset load and save this version, and tell whether it is versioned.

    Kedro's public `load_versions=` refuses what only the catch-all factory of a catalog matches.
    """
    from kedro.io import Version

    if not getattr(dataset, "_version", None):
        return False
    dataset._version = Version(version, version)
    return True


def path_parts(dataset: Any) -> tuple[str, ...]:
    """Take the path apart where a dataset is stored, if it is by fsspec."""
    return PurePosixPath(dataset._filepath).parts if hasattr(dataset, "_fs") else ()


def remove_folder(dataset: Any, name: str) -> str | None:
    """Remove the folder of this name in which a dataset is stored, and return its path."""
    parts = path_parts(dataset)
    if name not in parts:
        return None
    folder = str(PurePosixPath(*parts[: parts.index(name) + 1]))
    if not dataset._fs.exists(folder):
        return None
    dataset._fs.rm(folder, recursive=True)
    return folder


def save_whole(dataset: Any) -> None:
    """Remove what an earlier try has saved, and let no one find what is not yet saved whole.

    On a disk, it is written under another name beside its own, and then renamed. In an object
    store an object appears when it is closed, also by an error in the middle: then it is removed.
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
