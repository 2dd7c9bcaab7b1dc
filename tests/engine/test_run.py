"""Kedro's side: what a DAG run saves is whole and its own, and Airflow's log handlers stay."""

import logging
import pickle
import subprocess
import sys

import pytest
import yaml
from flights_airflow import kedro_internals
from flights_airflow.model import Run
from flights_airflow.run import runner
from kedro.io import DataCatalog, DatasetError, MemoryDataset, Version
from kedro.pipeline import Node, Pipeline
from kedro_datasets.matplotlib import MatplotlibDataset
from kedro_datasets.pickle import PickleDataset
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


class Half:
    """An object that fails halfway through being pickled."""

    def __reduce__(self):
        raise ValueError("half")


@pytest.mark.parametrize(
    "path, version", [("run/model.pickle", None), ("model.pickle", Version(None, None))]
)
def test_failed_save_leaves_no_object_in_a_bucket_and_a_retry_saves_it(
    s3, monkeypatch, path, version
):
    for key, value in s3.environment.items():
        monkeypatch.setenv(key, value)
    if "models" not in [bucket["Name"] for bucket in s3.client.list_buckets()["Buckets"]]:
        s3.create_bucket("models")
    dataset = PickleDataset(filepath=f"s3://models/{path}", version=version)
    with pytest.raises(DatasetError, match="half"):
        save([bytes(20_000_000), Half()], dataset)
    keys = [
        found["Key"] for found in s3.client.list_objects_v2(Bucket="models").get("Contents", [])
    ]
    assert not any(key.startswith(path) for key in keys)
    dataset = PickleDataset(filepath=f"s3://models/{path}", version=version)
    [saved] = save("whole", dataset)
    assert pickle.loads(s3.client.get_object(Bucket="models", Key=saved[7:])["Body"].read()) == (
        "whole"
    )


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
    assert (tmp_path / "text.txt" / "2024" / "text.txt").read_text() == dataset.load() == "text"
    assert not kedro_internals.pin_version(TextDataset(filepath="text.txt"), "2024")
    assert not kedro_internals.pin_version(MemoryDataset(), "2024")


def test_kedro_load_versions_refuse_datasets_that_only_a_catch_all_factory_matches():
    """The reason for setting `_version`; if this fails, the session's `load_versions=` will do."""
    entry = {"type": "pickle.PickleDataset", "filepath": "x", "versioned": True}
    with pytest.raises(DatasetError, match="not found in the catalog"):
        DataCatalog.from_config({"{any}": entry}, load_versions={"table": "2024"})


def test_kedro_filepath_and_filesystem_say_where_a_dataset_is(tmp_path):
    dataset = TextDataset(filepath=f"{tmp_path}/run/text.txt")
    assert "run" in kedro_internals.path_parts(dataset)
    assert kedro_internals.path_parts(MemoryDataset()) == ()
    dataset.save("text")
    assert kedro_internals.remove_folder(dataset, "run") == f"{tmp_path}/run"
    assert kedro_internals.remove_folder(dataset, "run") is None
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("version", [None, Version("2024", "2024")])
def test_kedro_load_path_and_save_path_decide_where_a_dataset_is_read_and_saved(tmp_path, version):
    dataset = TextDataset(filepath=f"{tmp_path}/text.txt", version=version)
    place = tmp_path / "text.txt" / "2024" / "text.txt" if version else tmp_path / "text.txt"
    assert str(dataset._get_load_path()) == str(dataset._get_save_path()) == str(place)
    dataset._get_save_path = lambda: tmp_path / "other.txt"
    dataset.save("text")
    assert (tmp_path / "other.txt").read_text() == "text" and not place.exists()


def test_kedros_side_imports_no_airflow():
    code = "import sys, flights_airflow.run; assert 'airflow' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], cwd=FOLDER.name, check=True)
