from kedro.pipeline import Node, Pipeline

from .nodes import plot_company_rating, plot_passenger_capacity, plot_price_prediction


def create_pipeline(**kwargs) -> Pipeline:
    return Pipeline(
        [
            Node(
                plot_passenger_capacity,
                inputs="preprocessed_shuttles",
                outputs="passenger_capacity_plot",
                name="plot_passenger_capacity_node",
            ),
            Node(
                plot_company_rating,
                inputs="preprocessed_companies",
                outputs="company_rating_plot",
                name="plot_company_rating_node",
            ),
            Node(
                plot_price_prediction,
                inputs=["regressor", "X_test", "y_test"],
                outputs="price_prediction_plot",
                name="plot_price_prediction_node",
            ),
        ]
    )
