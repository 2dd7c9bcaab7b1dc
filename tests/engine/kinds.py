"""Kinds of datasets, and processes that save and load them as tasks do, with a fault halfway."""

import multiprocessing
import os
import pickle
import signal
import time
from collections.abc import Callable, Iterator
from functools import cache
from itertools import count
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
from fsspec.implementations.local import LocalFileOpener, LocalFileSystem
from fsspec.spec import AbstractBufferedFile, AbstractFileSystem
from kedro.io import AbstractDataset, DataCatalog, DatasetError
from kedro.pipeline import Node, Pipeline
from kedro.runner import SequentialRunner
from kedro_datasets.matplotlib import MatplotlibDataset
from matplotlib.figure import Figure

import tests.linked  # noqa: F401

ROWS = 20_000


class TextPath(AbstractDataset):
    """A project's own dataset: no file system, and its path is a string."""

    def __init__(self, filepath: str) -> None:
        self._filepath = filepath

    def load(self) -> Any:
        return pickle.loads(Path(self._filepath).read_bytes())

    def save(self, data: Any) -> None:
        with open(self._filepath, "wb") as file:
            content = pickle.dumps(data)
            half = len(content) // 2
            FAULT.write(lambda part: (file.write(part), file.flush()), content[:half])
            FAULT.write(lambda part: (file.write(part), file.flush()), content[half:])

    def _describe(self) -> dict[str, Any]:
        return {"filepath": self._filepath}


class Folder(TextPath):
    """A project's own dataset that writes a folder, and takes any arguments."""

    def __init__(self, **arguments: Any) -> None:
        super().__init__(arguments["filepath"])

    def load(self) -> Any:
        paths = sorted(Path(self._filepath).iterdir())
        return {path.name: TextPath(str(path)).load() for path in paths}

    def save(self, data: Any) -> None:
        Path(self._filepath).mkdir(exist_ok=True)
        for name, part in data.items():
            TextPath(f"{self._filepath}/{name}").save(part)


class Plots(MatplotlibDataset):
    """Loads which of its plots are whole."""

    def load(self) -> dict[str, bool]:
        if not (found := self._fs.find(str(self._get_load_path()))):
            raise DatasetError("no plots")
        return {Path(path).name: b"IEND" in self._fs.cat_file(path)[-12:] for path in found}


class Fault:
    """What happens once half of the bytes of a node's output have been written."""

    def __init__(self) -> None:
        self.at, self.written, self.happen = float("inf"), 0, lambda: None

    def write(self, write: Callable[[bytes], Any], data: bytes) -> Any:
        self.written += len(data)
        if self.written < self.at or self.at == 0:
            return write(data)
        self.at = 0
        half = len(data) // 2
        write(data[:half])
        self.happen()
        return half + (write(data[half:]) or 0)


FAULT = Fault()


@cache
def count_what_is_written() -> None:
    """Let all files of fsspec tell FAULT what is written to them."""
    for opened in (LocalFileOpener, AbstractBufferedFile):
        opened.write = counted(opened.write)


def counted(write: Callable[..., Any]) -> Callable[..., Any]:
    return lambda file, data: FAULT.write(lambda part: write(file, part), bytes(data))


def second(move: Callable[..., Any], instead: Callable[[], None]) -> Callable[..., Any]:
    """Do something else the second time."""
    times = count()
    return lambda *arguments, **named: instead() if next(times) else move(*arguments, **named)


def table(seed: int) -> pd.DataFrame:
    return pd.DataFrame({"key": range(ROWS), "value": [seed] * ROWS})


def plots(seed: int) -> dict[str, Figure]:
    return {f"{seed}-{number}.png": Figure(figsize=(1, 1)) for number in range(4)}


def partitions(seed: int) -> dict[str, pd.DataFrame]:
    """As many of other names as of names that all seeds have."""
    names = [f"{seed}-{number}" for number in range(2)] + ["a", "b"]
    return {name: table(seed).head(1000) for name in names}


def chunks(seed: int) -> Iterator[pd.DataFrame]:
    yield from (table(seed)[start : start + ROWS // 4] for start in range(0, ROWS, ROWS // 4))


def comparable(loaded: Any) -> Any:
    """What was loaded, in a form that can be compared, with the partitions' content."""
    if isinstance(loaded, pd.DataFrame):
        return loaded.to_dict("list")
    if isinstance(loaded, dict):
        parts = {key: part() if callable(part) else part for key, part in sorted(loaded.items())}
        return {key: comparable(part) for key, part in parts.items()}
    return loaded


class Kind(NamedTuple):
    """A dataset: its catalog entry, what a node saves, and whether other runs use it too.

    ``reads`` is the entry that loads it, where that is another one; ``adds`` says that it keeps
    the files that it does not replace.
    """

    entry: dict[str, Any]
    make: Callable[[int], Any] = table
    shared: bool = False
    adds: bool = False
    reads: dict[str, Any] | None = None
    only_disk: bool = False


CSV = {"type": "pandas.CSVDataset", "save_args": {"index": False}}
PICKLE = {"type": "pickle.PickleDataset"}
PLOTS = {"type": Plots}
PARTITIONS = {"type": "partitions.PartitionedDataset", "dataset": CSV, "filename_suffix": ".csv"}
INCREMENTAL = {"type": "partitions.IncrementalDataset", "dataset": CSV, "filename_suffix": ".csv"}
OWN, SHARED = "{root}/run/data", "{root}/data"
KINDS = {
    "pickle": Kind(PICKLE | {"filepath": f"{OWN}.pickle"}, lambda seed: [seed] * 3_000_000),
    "shared pickle": Kind(PICKLE | {"filepath": f"{SHARED}.pickle"}, shared=True),
    "versioned pickle": Kind(PICKLE | {"filepath": f"{SHARED}.pickle", "versioned": True}),
    "csv": Kind(CSV | {"filepath": f"{OWN}.csv"}),
    "shared csv": Kind(CSV | {"filepath": f"{SHARED}.csv"}, shared=True),
    "csv of chunks": Kind(
        CSV
        | {"filepath": f"{OWN}.csv", "save_args": {"index": False, "header": False}}
        | {"fs_args": {"open_args_save": {"mode": "a"}}},
        chunks,
        reads=CSV | {"filepath": f"{OWN}.csv", "load_args": {"names": ["key", "value"]}},
    ),
    "transcoded": Kind(
        CSV | {"filepath": f"{OWN}.csv"},
        reads={"type": "text.TextDataset", "filepath": f"{OWN}.csv"},
    ),
    "parquet": Kind({"type": "pandas.ParquetDataset", "filepath": f"{OWN}.parquet"}),
    "shared parquet": Kind(
        {"type": "pandas.ParquetDataset", "filepath": f"{SHARED}.parquet"}, shared=True
    ),
    "excel": Kind(
        {"type": "pandas.ExcelDataset", "filepath": f"{OWN}.xlsx"}, lambda s: table(s).head(999)
    ),
    "json": Kind(
        {"type": "json.JSONDataset", "filepath": f"{OWN}.json"}, lambda seed: [seed] * ROWS
    ),
    "text": Kind(
        {"type": "text.TextDataset", "filepath": f"{SHARED}.txt"},
        lambda s: str(s) * ROWS,
        shared=True,
    ),
    "plots": Kind(PLOTS | {"filepath": OWN}, plots),
    "shared plots": Kind(PLOTS | {"filepath": SHARED}, plots, shared=True, adds=True),
    "versioned plots": Kind(PLOTS | {"filepath": SHARED, "versioned": True}, plots),
    "partitions": Kind(PARTITIONS | {"path": OWN}, partitions),
    "shared partitions": Kind(PARTITIONS | {"path": SHARED}, partitions, shared=True, adds=True),
    "replaced partitions": Kind(
        PARTITIONS | {"path": SHARED, "overwrite": True}, partitions, shared=True
    ),
    "incremental": Kind(INCREMENTAL | {"path": OWN}, partitions),
    "cached": Kind({"type": "CachedDataset", "dataset": PICKLE | {"filepath": f"{OWN}.pickle"}}),
    "versioned cached": Kind(
        {
            "type": "CachedDataset",
            "versioned": True,
            "dataset": PICKLE | {"filepath": f"{SHARED}.pickle"},
        }
    ),
    "own dataset": Kind(
        {"type": TextPath, "filepath": f"{SHARED}.bin"}, shared=True, only_disk=True
    ),
    "own folder": Kind(
        {"type": Folder, "filepath": OWN}, lambda seed: {"a": seed, "b": seed}, only_disk=True
    ),
}


def with_root(entry: Any, root: str) -> Any:
    if isinstance(entry, dict):
        return {key: with_root(value, root) for key, value in entry.items()}
    return entry.replace("{root}", root) if isinstance(entry, str) else entry


def catalog(entry: dict[str, Any], root: str) -> DataCatalog:
    return DataCatalog.from_config({"data": with_root(entry, root)})


def task_runner() -> SequentialRunner:
    """The runner of a task in a DAG run with the folder `run`."""
    from flights_airflow.model import Run
    from flights_airflow.run import runner

    about = {"package": "flights", "pipeline": "__default__", "env": "airflow", "conf_source": None}
    parameters = {"airflow": {"folder": "run"}}
    return runner(Run(**about, written=["data"], parameters=parameters, version="2024"))


def save(
    name: str,
    root: str,
    seed: int,
    fault: str | None = None,
    size: int = 0,
    note: Path | None = None,
    runner: Callable[[], SequentialRunner] = task_runner,
) -> int:
    """Save what a node makes of a seed, and return how many bytes were written.

    Args:
        fault: what happens at half of this size: the process is killed, an exception is raised,
            or it waits until the file ``note`` is removed. Or it is killed between two files, when
            all are saved and take their places.
    """

    def wait() -> None:
        note.touch()
        while note.exists():
            time.sleep(0.01)

    def fail() -> None:
        raise ValueError("halfway")

    def die() -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    if fault == "killed between two files":
        for kept in (AbstractFileSystem, LocalFileSystem):
            kept.mv = second(kept.mv, die)
    elif fault:
        FAULT.at, FAULT.happen = size // 2, {"killed": die, "error": fail, "waits": wait}[fault]
    count_what_is_written()
    kind = KINDS[name]

    def generate() -> Iterator[Any]:
        yield from kind.make(seed)

    make = generate if kind.make is chunks else lambda: kind.make(seed)
    runner().run(Pipeline([Node(make, None, "data", name="node")]), catalog(kind.entry, root))
    return FAULT.written


def load(name: str, root: str, runner: Callable[[], SequentialRunner] = task_runner) -> Any:
    """Load it in another task of the DAG run."""
    kind = KINDS[name]
    loaded = []
    node = Node(lambda data: loaded.append(comparable(data)), "data", None, name="node")
    runner().run(Pipeline([node]), catalog(kind.reads or kind.entry, root))
    return loaded[0]


def in_turn(name: str, root: str, *steps: int | str) -> list[Any]:
    """Save what is made of a seed, or load it, step by step; an error does not end it."""
    found = []
    for step in steps:
        try:
            found.append(load(name, root) if step == "load" else save(name, root, step))
        except Exception as error:
            found.append(DatasetError(str(error)))
    return found


def without_airflow(name: str, root: str, seeds: list[int]) -> Any:
    """Save it once for each seed, and load it, as `kedro run` does."""
    Path(root, "run").mkdir()
    for seed in seeds:
        save(name, root, seed, runner=SequentialRunner)
    return load(name, root, runner=SequentialRunner)


def in_a_process(environment: dict[str, str], function: Callable[..., Any], *arguments: Any) -> Any:
    """Return what a function of this module returns or raises in a new process, or "killed"."""
    ours, theirs = PROCESSES.Pipe()
    given = (theirs, environment, function.__name__, *arguments)
    process = PROCESSES.Process(target=report, args=given)
    process.start()
    theirs.close()
    try:
        return ours.recv()
    except EOFError:
        return "killed"
    finally:
        process.join()


def report(to: Connection, environment: dict[str, str], function: str, *arguments: Any) -> None:
    os.environ |= environment
    try:
        to.send(globals()[function](*arguments))
    except Exception as error:
        to.send(error if type(error) is DatasetError else RuntimeError(repr(error)))


PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload([__name__, "openpyxl", "pyarrow.parquet", "pytest", "s3fs"])
task_runner()
for kind in KINDS.values():  # imports their modules, once for all processes
    catalog(kind.entry, "/root").get("data")
