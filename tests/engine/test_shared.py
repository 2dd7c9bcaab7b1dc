"""Which datasets DAG runs share, and which they leave, as the catalog says."""

import json
from types import SimpleNamespace

import pytest
from flights.airflow_dag.shared import shared_and_left
from kedro.config import OmegaConfigLoader
from kedro.pipeline import Node, Pipeline

CATALOG = """
_run: data/${runtime_params:airflow.folder,kedro}
_other: ${runtime_params:other,none}
raw: {type: pandas.CSVDataset, filepath: data/raw.csv}
"shared_{name}": {type: pandas.CSVDataset, filepath: "data/{name}.csv"}
model: {type: pickle.PickleDataset, filepath: data/model.pickle, versioned: true}
rows: {type: pandas.SQLTableDataset, table_name: rows, credentials: db}
kept: {type: MemoryDataset}
nowhere: {type: MemoryDataset}
scores: {type: pandas.SQLTableDataset, table_name: scores, credentials: db}
parts: {type: partitions.PartitionedDataset, path: "${_run}/parts", dataset: pandas.CSVDataset}
table@pandas: {type: pandas.CSVDataset, filepath: "${_other}/table"}
table@spark: {type: spark.SparkDataset, filepath: "${_other}/table"}
remote: {type: json.JSONDataset, filepath: "https://me:pass@host/${globals:team}/a@b?key=pass"}
cached: {type: CachedDataset, dataset: {type: json.JSONDataset, filepath: a.json}}
built: ${built_elsewhere:}
"{any}": {type: pickle.PickleDataset, filepath: "${_run}/{any}.pickle"}
"""


PLOTS = {"{name}_plot": {"type": "json.JSONDataset", "versioned": True}}
PLOTS["{name}_plot"]["filepath"] = "${globals:storage}/plots/{name}"
NAMES = ["raw", "shared_a", "model", "rows", "kept", "parts", "anything", "params:size"]
LEFT = ["table@pandas", "remote", "cached", "built", "size_plot", "age_plot"]
PIPELINE = Pipeline(
    [
        Node(lambda *inputs: None, NAMES, LEFT, name="one"),
        Node(
            lambda *inputs: None,
            ["table@spark", "size_plot"],
            ["result", "scores", "nowhere"],
            name="two",
        ),
    ]
)


@pytest.fixture
def context(tmp_path):
    (tmp_path / "airflow").mkdir()
    (tmp_path / "airflow" / "catalog.yml").write_text(CATALOG)
    (tmp_path / "airflow" / "catalog" / "plots").mkdir(parents=True)
    (tmp_path / "airflow" / "catalog" / "plots" / "deep.json").write_text(json.dumps(PLOTS))
    (tmp_path / "airflow" / "globals.yml").write_text("storage: s3://data\nteam: ours\n")
    given = {"env": "airflow", "base_env": "airflow", "runtime_params": {"other": "x"}}
    given["custom_resolvers"] = {"built_elsewhere": lambda: {"type": "api.APIDataset"}}
    return SimpleNamespace(config_loader=OmegaConfigLoader(str(tmp_path), **given))


def test_runs_share_what_is_neither_versioned_nor_in_their_folder(context):
    tables = {"rows", "scores", "table@pandas", "table@spark"}
    shared, _ = shared_and_left(context, PIPELINE)
    assert shared == {"raw", "shared_a", "remote", "cached", "built", *tables}
    assert context.config_loader.runtime_params == {"other": "x"}


def test_run_leaves_what_is_not_in_its_folder_where_the_catalog_has_it_without_values(context):
    _, left = shared_and_left(context, PIPELINE)
    assert left == {
        "<_other>": ["table"],
        "<storage>/plots": ["age_plot", "size_plot"],
        "a.json": ["cached"],
        "api.APIDataset": ["built"],
        "https://host/<team>": ["remote"],
        "pandas.SQLTableDataset": ["scores"],
    }


def test_files_beside_the_catalog_that_kedro_does_not_read_are_left_alone(context):
    path = context.config_loader.conf_source
    _, expected = shared_and_left(context, PIPELINE)
    for name, content in {"catalog.yml.swp": b"\xff\0", "catalog.md": b"# Our catalog"}.items():
        with open(f"{path}/airflow/{name}", "wb") as file:
            file.write(content)
    assert shared_and_left(context, PIPELINE)[1] == expected


def test_catalog_that_only_tasks_can_read_does_not_keep_a_dag_from_being_written(context):
    path = context.config_loader.conf_source
    with open(f"{path}/airflow/catalog.yml", "a") as catalog:
        catalog.write("new: {type: MemoryDataset, size: '${runtime_params:size}'}\n")
    assert shared_and_left(context, PIPELINE) == (set(), {})
