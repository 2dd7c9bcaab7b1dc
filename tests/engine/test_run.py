"""Kedro's side: what a DAG run saves is whole and its own, and Airflow's log handlers stay."""

import logging
import os
import subprocess
import sys
from pathlib import Path

import kedro.framework.project
import pytest
import yaml
from flights_airflow import kedro_internals, storage
from flights_airflow import run as engine
from flights_airflow.model import Node as Planned
from flights_airflow.model import Run
from flights_airflow.run import needed_pipelines, runner, start_kedro
from kedro.framework.session import KedroServiceSession
from kedro.io import CachedDataset, DataCatalog, DatasetError, MemoryDataset, Version
from kedro.pipeline import Node, Pipeline
from kedro_datasets.matplotlib import MatplotlibDataset
from kedro_datasets.partitions import IncrementalDataset, PartitionedDataset
from kedro_datasets.text import TextDataset
from matplotlib.figure import Figure

from tests.linked import FOLDER, project


def runner_for(written):
    """The runner of the run `run` with the version 2024, of a DAG that writes these datasets."""
    parameters = {"airflow": {"folder": "run"}}
    about = {"package": "flights", "pipeline": "__default__", "env": "airflow", "conf_source": None}
    return runner(Run(**about, written=written, parameters=parameters, version="2024"))


def save(data, dataset):
    node = Node(lambda: data, None, "data", name="node")
    runner_for(["data"]).run(Pipeline([node]), DataCatalog({"data": dataset}))
    return sorted(dataset._fs.find(str(dataset._get_load_path())))


@pytest.mark.parametrize("root", ["{tmp_path}", "memory://{tmp_path}"])
@pytest.mark.parametrize("path, version", [("run/plots", None), ("plots", Version(None, None))])
def test_retry_replaces_a_folder_of_files(tmp_path, root, path, version):
    path = f"{root.format(tmp_path=tmp_path)}/{path}"
    for name in ("one.png", "other.png"):
        dataset = MatplotlibDataset(filepath=path, version=version)
        [saved] = save({name: Figure()}, dataset)
        assert saved == str(dataset._get_load_path() / name)
        assert dataset._fs.find(str(dataset._filepath.parent)) == [saved]


def test_data_that_belongs_to_no_run_is_saved_as_the_catalog_says(tmp_path):
    for _ in range(2):
        fs_args = {"open_args_save": {"mode": "a"}}
        save("once ", TextDataset(filepath=f"{tmp_path}/log.txt", fs_args=fs_args))
    assert (tmp_path / "log.txt").read_text() == "once once "


def test_transcoded_dataset_is_read_in_the_runs_version(tmp_path):
    for version in ("2024", "2025"):
        path = tmp_path / "table.txt" / version / "table.txt"
        path.parent.mkdir(parents=True)
        path.write_text(version)
    dataset = TextDataset(filepath=f"{tmp_path}/table.txt", version=Version(None, None))
    read = []
    node = Node(read.append, "table@read", None, name="node")
    runner_for(["table@written"]).run(Pipeline([node]), DataCatalog({"table@read": dataset}))
    assert read == ["2024"]


def test_kedro_starts_in_the_projects_folder_with_its_log_levels_and_no_telemetry(
    tmp_path, monkeypatch
):
    levels = tmp_path / "conf" / "airflow" / "logging.yml"
    levels.parent.mkdir(parents=True)
    levels.touch()
    seen = {}

    def create(**given):
        seen.update(given, cwd=Path.cwd(), **os.environ)

    monkeypatch.setattr(engine, "PROJECT", tmp_path)
    monkeypatch.setattr(KedroServiceSession, "create", create)
    monkeypatch.setattr(kedro.framework.project, "configure_project", lambda package: None)
    monkeypatch.chdir(tmp_path.parent)
    for name in ("DO_NOT_TRACK", "KEDRO_LOGGING_CONFIG"):
        monkeypatch.setenv(name, "")
    start_kedro(Run("flights", "__default__", "airflow", None, []))
    assert (seen["DO_NOT_TRACK"], seen["KEDRO_LOGGING_CONFIG"]) == ("1", str(levels))
    assert seen["cwd"] == seen["project_path"] == tmp_path
    assert seen["conf_source"] == str(tmp_path / "plugins" / "conf-flights.zip")


class Pipelines(dict):
    """The project's pipelines, and which of them were asked for."""

    def set_requested(self, names):
        self.requested = names


PLANNED = Planned("train", ["table"], ["model"], "science")


@pytest.mark.parametrize(
    "nodes, loaded",
    [
        ([PLANNED], ["science"]),
        ([PLANNED, Planned("last", ["model"], ["end"])], ["__default__"]),
        ([Planned("train", ["table"], ["model"], "renamed")], ["__default__"]),
    ],
)
def test_only_the_pipelines_with_the_nodes_are_loaded_if_they_have_them(nodes, loaded, monkeypatch):
    train = Node(print, "table", "model", name="train")
    last = Node(print, "model", "end", name="last")
    pipelines = Pipelines(science=Pipeline([train]), __default__=Pipeline([train, last]))
    monkeypatch.setattr(kedro.framework.project, "pipelines", pipelines)
    assert needed_pipelines(nodes, "__default__") == pipelines.requested == loaded


@pytest.mark.parametrize(
    "changed",
    [
        Node(print, "table", "model", name="fit"),
        Node(print, "tables", "model", name="train"),
        Node(print, "table", ["model", "plot"], name="train"),
    ],
)
def test_node_that_has_changed_since_the_dag_was_written_is_not_run(changed, monkeypatch):
    pipelines = Pipelines(science=Pipeline([changed]), __default__=Pipeline([changed]))
    monkeypatch.setattr(kedro.framework.project, "pipelines", pipelines)
    said = r"^Changed since the DAG was written: \['train'\]. Run `make dag`.$"
    with pytest.raises(ValueError, match=said):
        needed_pipelines([PLANNED], "__default__")


def test_logging_yml_sets_levels_and_leaves_the_handlers():
    text = (project("flights") / "conf" / "airflow" / "logging.yml").read_text()
    config = yaml.safe_load(text.replace("{{ cookiecutter.python_package }}", "flights"))
    before = list(logging.root.handlers)
    logging.config.dictConfig(config)
    assert logging.root.handlers == before
    assert logging.getLogger("kedro.io.catalog_config_resolver").level == logging.ERROR


# What kedro_internals.py relies on, one by one: a Kedro release that changes it fails here.


def test_kedro_version_of_a_dataset_can_be_set_after_its_creation(tmp_path):
    dataset = TextDataset(filepath=f"{tmp_path}/text.txt", version=Version(None, None))
    assert kedro_internals.pin_version(dataset, "2024")
    dataset.save("text")
    assert (tmp_path / "text.txt" / "2024" / "text.txt").read_text() == "text"
    TextDataset(filepath=f"{tmp_path}/text.txt", version=Version(None, "2025")).save("later")
    assert dataset.load() == "text"
    assert not kedro_internals.pin_version(TextDataset(filepath="text.txt"), "2024")
    assert not kedro_internals.pin_version(MemoryDataset(), "2024")


def test_kedro_load_versions_refuse_datasets_that_only_a_catch_all_factory_matches():
    """The reason for setting `_version`; if this fails, the session's `load_versions=` will do."""
    entry = {"type": "pickle.PickleDataset", "filepath": "x", "versioned": True}
    with pytest.raises(DatasetError, match="not found in the catalog"):
        DataCatalog.from_config({"{any}": entry}, load_versions={"table": "2024"})


PARTITIONS = {"dataset": "text.TextDataset", "filename_suffix": ".txt"}


class OwnText(TextDataset):
    """A subclass without a constructor of its own: Kedro notes its arguments in another form."""


class AnyArguments(TextDataset):
    def __init__(self, **arguments):
        super().__init__(**arguments)


@pytest.mark.parametrize(
    "dataset, stored",
    [
        (TextDataset(filepath="/a/run/t.txt"), "/a/run/t.txt"),
        (OwnText(filepath="/a/t.txt", version=Version("1", "1")), "/a/t.txt/1/t.txt"),
        (AnyArguments(filepath="memory://a/t.txt"), "/a/t.txt"),
        (PartitionedDataset(path="/a/run", **PARTITIONS), "/a/run"),
        (IncrementalDataset(path="/a/run", checkpoint={}, **PARTITIONS), "/a/run"),
        (CachedDataset(TextDataset(filepath="/a/t.txt")), "/a/t.txt"),
    ],
)
def test_kedro_arguments_say_where_a_dataset_is_and_create_it_elsewhere(dataset, stored, tmp_path):
    dataset = kedro_internals.inner(dataset)
    fs, path = kedro_internals.place(dataset)
    assert path == stored
    other = kedro_internals.elsewhere(dataset, fs, f"{tmp_path}/new.txt")
    assert type(other) is type(dataset) and other is not dataset
    assert kedro_internals.place(other) == (fs, f"{tmp_path}/new.txt")


def test_kedro_notes_the_defaults_of_a_subclass_without_a_constructor_too():
    class OwnParts(PartitionedDataset):
        pass

    given = kedro_internals.arguments(PartitionedDataset(path="/a", **PARTITIONS))
    assert kedro_internals.arguments(OwnParts(path="/a", **PARTITIONS)) == given
    assert given["overwrite"] is False


@pytest.mark.parametrize("dataset", [MemoryDataset(), TextDataset(filepath="https://a.org/t.txt")])
def test_kedro_dataset_without_a_file_system_has_no_place(dataset):
    assert (kedro_internals.place(dataset) is None) is isinstance(dataset, MemoryDataset)


def test_kedro_lists_the_partitions_that_it_loads_with_one_method(tmp_path):
    for name in ("one", "other"):
        (tmp_path / name).write_text(name)
    dataset = PartitionedDataset(path=str(tmp_path), dataset="text.TextDataset")
    kedro_internals.hide(dataset, "/other")
    assert list(dataset.load()) == ["one"]


def test_folder_of_a_run_is_removed_with_whatever_is_stored_in_it(tmp_path):
    for dataset in (
        CachedDataset(TextDataset(filepath=f"{tmp_path}/run/text.txt")),
        PartitionedDataset(path=f"{tmp_path}/run/texts", **PARTITIONS),
    ):
        dataset.save({"a": "text"} if isinstance(dataset, PartitionedDataset) else "text")
        assert storage.remove_folder(dataset, "run") == f"{tmp_path}/run"
        assert storage.remove_folder(dataset, "run") is None
        assert list(tmp_path.iterdir()) == []


def test_what_a_node_confirms_is_confirmed_only_once_its_outputs_are_in_their_place(tmp_path):
    seen = []

    class Confirmed(MemoryDataset):
        def confirm(self):
            seen.append((tmp_path / "run" / "text.txt").exists())

    catalog = DataCatalog(
        {"new": Confirmed(1), "data": TextDataset(filepath=f"{tmp_path}/run/text.txt")}
    )
    node = Node(lambda new: "text", "new", "data", name="node", confirms="new")
    runner_for(["data"]).run(Pipeline([node]), catalog)
    assert seen == [True]


def test_tasks_of_one_process_see_what_earlier_nodes_saved(tmp_path):
    catalog = {name: TextDataset(filepath=f"{tmp_path}/run/{name}.txt") for name in "ab"}
    nodes = [
        Node(lambda: "text", None, "a", name="one"),
        Node(lambda a: a.upper(), "a", "b", name="two"),
    ]
    runner_for(["a", "b"]).run(Pipeline(nodes), DataCatalog(catalog))
    assert (tmp_path / "run" / "b.txt").read_text() == "TEXT"
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == ["a.txt", "b.txt"]


def test_folder_with_a_mark_is_refused_by_name_until_it_is_saved_again(tmp_path):
    dataset = PartitionedDataset(path=f"{tmp_path}/texts", **PARTITIONS)
    dataset.save({"a": "text"})
    mark = tmp_path / ".unfinished-texts"
    mark.touch()
    read = Node(len, "texts", None, name="read")
    with pytest.raises(DatasetError, match=r"^texts: /.*/texts is not complete: the task"):
        runner_for([]).run(Pipeline([read]), DataCatalog({"texts": dataset}))
    write = Node(lambda: {"b": "text"}, None, "texts", name="write")
    runner_for(["texts"]).run(Pipeline([write]), DataCatalog({"texts": dataset}))
    assert not mark.exists() and sorted(dataset.load()) == ["a", "b"]


def test_failed_retry_leaves_nothing_of_the_try_before(tmp_path):
    def fail():
        raise RuntimeError("no data")

    dataset = TextDataset(filepath=f"{tmp_path}/run/text.txt")
    save("text", dataset)
    failing = Pipeline([Node(fail, None, "data", name="node")])
    with pytest.raises(RuntimeError, match="no data"):
        runner_for(["data"]).run(failing, DataCatalog({"data": dataset}))
    assert list(tmp_path.iterdir()) == [tmp_path / "run"]
    assert list((tmp_path / "run").iterdir()) == []


def test_files_that_are_being_moved_into_a_folder_have_a_mark_beside_it(tmp_path, monkeypatch):
    dataset = PartitionedDataset(path=f"{tmp_path}/run/texts", **PARTITIONS)
    move, seen = dataset._filesystem.mv, []

    def moved(*paths):
        seen.append((tmp_path / "run" / ".unfinished-texts").exists())
        move(*paths)

    monkeypatch.setattr(type(dataset._filesystem), "mv", staticmethod(moved))
    node = Node(lambda: {"a": "text", "b": "text"}, None, "texts", name="node")
    runner_for(["texts"]).run(Pipeline([node]), DataCatalog({"texts": dataset}))
    assert seen == [True, True]
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["texts"]


def test_only_what_the_same_run_left_of_the_same_file_is_removed(tmp_path):
    names = (".unfinished-2024-1", ".unfinished-2023-1", ".unfinished-2024-2", "other")
    left = [tmp_path / name / "text.txt" for name in names]
    left[2] = left[2].with_name("another.txt")
    for path in left:
        path.parent.mkdir()
        path.touch()
    save("text", TextDataset(filepath=f"{tmp_path}/text.txt"))
    assert [path.exists() for path in left] == [False, True, True, True]


def test_partitions_that_a_task_has_not_finished_are_not_read(tmp_path):
    for name in ("a.txt", ".unfinished-2024-1/b.txt"):
        TextDataset(filepath=f"{tmp_path}/{name}").save("text")
    read = []
    node = Node(read.extend, "texts", None, name="node")
    dataset = PartitionedDataset(path=str(tmp_path), **PARTITIONS)
    runner_for([]).run(Pipeline([node]), DataCatalog({"texts": dataset}))
    assert read == ["a"]


@pytest.mark.parametrize(
    "arguments",
    [
        {"fs_args": {"open_args_save": {"mode": "a"}}},
        {"save_args": {"mode": "append"}},
        {"file_format": "delta"},
    ],
)
def test_what_appends_or_has_its_own_transactions_is_saved_as_it_is_unless_it_is_the_runs_own(
    arguments, tmp_path
):
    class Any(TextDataset):
        def __init__(self, filepath, save_args=None, file_format=None, fs_args=None):
            super().__init__(filepath=filepath, fs_args=fs_args)

    dataset = Any(f"{tmp_path}/run/text.txt", **arguments)
    assert storage.output(dataset, "2024", own=False) is None
    assert storage.output(dataset, "2024", own=True).path == f"{tmp_path}/run/text.txt"


def test_dataset_that_cannot_be_created_twice_is_saved_as_it_is(tmp_path):
    class Once(TextDataset):
        left = 1

        def __init__(self, filepath):
            assert Once.left, "only one of these"
            Once.left -= 1
            super().__init__(filepath=filepath)

    assert save("text", Once(f"{tmp_path}/run/text.txt")) == [f"{tmp_path}/run/text.txt"]


def test_kedros_side_imports_no_airflow():
    code = "import sys, flights_airflow.run; assert 'airflow' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], cwd=FOLDER.name, check=True)
