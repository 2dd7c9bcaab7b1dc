import pandas as pd
import pytest
from kedro.framework.project import pipelines
from kedro.io import DataCatalog
from kedro.runner import SequentialRunner

from {{ cookiecutter.python_package }}.pipelines.data_processing.nodes import (
    create_model_input_table,
    preprocess_companies,
    preprocess_shuttles,
)


@pytest.fixture(scope="module")
def result(load_catalog):
    """The outputs of the whole pipeline for the raw data, with nothing saved."""
    catalog = load_catalog()
    pipeline = pipelines["__default__"]
    memory = DataCatalog()
    for name in pipeline.inputs():
        memory[name] = catalog.load(name)
    outputs = SequentialRunner().run(pipeline, memory)
    return {name: dataset.load() for name, dataset in outputs.items()}


def test_model_predicts_better_than_the_mean_price(result):
    assert result["metrics"]["r2_score"] > 0


@pytest.mark.parametrize("name", ["passenger_capacity", "company_rating", "price_prediction"])
def test_plots_show_data(result, name):
    assert result[f"{name}_plot"].axes[0].has_data()


def test_ratings_and_approvals_are_read():
    raw = pd.DataFrame({"company_rating": ["75%", None], "iata_approved": ["t", "f"]})
    companies = preprocess_companies(raw)
    assert companies["company_rating"].dropna().tolist() == [0.75]
    assert companies["iata_approved"].tolist() == [True, False]


def test_prices_and_checks_are_read():
    raw = pd.DataFrame(
        {"price": ["$1,715.0"], "d_check_complete": ["f"], "moon_clearance_complete": ["t"]}
    )
    shuttles = preprocess_shuttles(raw)
    assert shuttles.iloc[0].to_dict() == {
        "price": 1715.0,
        "d_check_complete": False,
        "moon_clearance_complete": True,
    }


def test_rows_with_gaps_are_left_out_of_the_table():
    shuttles = pd.DataFrame({"id": [1, 2], "company_id": [7, 7], "price": [100.0, 200.0]})
    companies = pd.DataFrame({"id": [7], "company_rating": [0.9]})
    reviews = pd.DataFrame({"shuttle_id": [1, 2], "review_scores_rating": [91.0, None]})
    assert create_model_input_table(shuttles, companies, reviews)["shuttle_id"].tolist() == [1]
