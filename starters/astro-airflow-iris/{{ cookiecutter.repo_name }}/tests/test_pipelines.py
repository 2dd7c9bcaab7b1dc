import numpy as np
import pandas as pd
from kedro.framework.project import pipelines
from kedro.io import DataCatalog
from kedro.runner import SequentialRunner

from {{ cookiecutter.python_package }}.pipelines.data_engineering.nodes import split_data
from {{ cookiecutter.python_package }}.pipelines.data_science.nodes import report_accuracy


def test_model_knows_the_species(load_catalog):
    catalog = load_catalog()
    pipeline = pipelines["__default__"]
    memory = DataCatalog()
    for name in pipeline.inputs():
        memory[name] = catalog.load(name)
    outputs = SequentialRunner().run(pipeline, memory)
    assert outputs["metrics"].load()["accuracy"] > 0.9


def test_both_parts_have_the_same_share_of_each_species(load_catalog):
    iris = load_catalog().load("iris")
    *_, train, test = split_data(iris, {"test_size": 0.2, "random_state": 1})
    assert train.value_counts().unique().tolist() == [40]
    assert test.value_counts().unique().tolist() == [10]


def test_accuracy_is_the_share_of_correct_predictions():
    species = pd.Series(["setosa", "setosa", "virginica", "versicolor"])
    predictions = np.array(["setosa", "virginica", "virginica", "versicolor"])
    assert report_accuracy(predictions, species) == {"accuracy": 0.75}
