from kedro.pipeline import Node, Pipeline

from .nodes import predict, report_accuracy, train_model


def create_pipeline(**kwargs) -> Pipeline:
    return Pipeline(
        [
            Node(
                train_model,
                inputs=["train_features", "train_species", "params:max_iter"],
                outputs="model",
                name="train_model_node",
            ),
            Node(
                predict,
                inputs=["model", "test_features"],
                outputs="predictions",
                name="predict_node",
            ),
            Node(
                report_accuracy,
                inputs=["predictions", "test_species"],
                outputs="metrics",
                name="report_accuracy_node",
            ),
        ]
    )
