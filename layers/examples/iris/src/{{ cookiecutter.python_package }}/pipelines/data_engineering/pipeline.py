from kedro.pipeline import Node, Pipeline

from .nodes import split_data


def create_pipeline(**kwargs) -> Pipeline:
    return Pipeline(
        [
            Node(
                split_data,
                inputs=["iris", "params:model_options"],
                outputs=["train_features", "test_features", "train_species", "test_species"],
                name="split_data_node",
            ),
        ]
    )
