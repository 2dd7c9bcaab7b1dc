from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from kedro.framework.project import pipelines
from kedro.framework.session import KedroServiceSession
from kedro.framework.startup import bootstrap_project
from kedro.io import DataCatalog
from kedro.runner import SequentialRunner

from {{ cookiecutter.python_package }}.pipelines.data_engineering.nodes import split_data
from {{ cookiecutter.python_package }}.pipelines.data_science.nodes import report_accuracy

PROJECT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def catalog():
    bootstrap_project(PROJECT)
    return KedroServiceSession.create(project_path=PROJECT).load_context().catalog


def test_model_knows_the_species(catalog):
    pipeline = pipelines["__default__"]
    memory = DataCatalog({name: catalog.load(name) for name in pipeline.inputs()})
    outputs = SequentialRunner().run(pipeline, memory)
    assert outputs["metrics"].load()["accuracy"] > 0.9


def test_both_parts_have_the_same_share_of_each_species(catalog):
    *_, train, test = split_data(catalog.load("iris"), {"test_size": 0.2, "random_state": 1})
    assert train.value_counts().unique().tolist() == [40]
    assert test.value_counts().unique().tolist() == [10]


def test_accuracy_is_the_share_of_right_predictions():
    species = pd.Series(["setosa", "setosa", "virginica", "versicolor"])
    predictions = np.array(["setosa", "virginica", "virginica", "versicolor"])
    assert report_accuracy(predictions, species) == {"accuracy": 0.75}
