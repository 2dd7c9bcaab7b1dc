"""Which datasets DAG runs share, as the catalog says."""

from types import SimpleNamespace

import pytest
from flights.airflow_dag.shared import shared_datasets
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
parts: {type: partitions.PartitionedDataset, path: "${_run}/parts", dataset: pandas.CSVDataset}
"{any}": {type: pickle.PickleDataset, filepath: "${_run}/{any}.pickle"}
"""


NAMES = ["raw", "shared_a", "model", "rows", "kept", "parts", "anything", "params:size"]
PIPELINE = Pipeline([Node(lambda *inputs: None, NAMES, None, name="node")])


@pytest.fixture
def context(tmp_path):
    (tmp_path / "airflow").mkdir()
    (tmp_path / "airflow" / "catalog.yml").write_text(CATALOG)
    given = {"env": "airflow", "base_env": "airflow", "runtime_params": {"other": "x"}}
    return SimpleNamespace(config_loader=OmegaConfigLoader(str(tmp_path), **given))


def test_runs_share_what_is_neither_versioned_nor_in_their_folder(context):
    assert shared_datasets(context, PIPELINE) == {"raw", "shared_a", "rows"}
    assert context.config_loader.runtime_params == {"other": "x"}


def test_catalog_that_only_tasks_can_read_does_not_keep_a_dag_from_being_written(context):
    path = context.config_loader.conf_source
    with open(f"{path}/airflow/catalog.yml", "a") as catalog:
        catalog.write("new: {type: MemoryDataset, size: '${runtime_params:size}'}\n")
    assert shared_datasets(context, PIPELINE) == set()
