import logging

import pandas as pd
from sklearn.linear_model import LinearRegression
from sklearn.metrics import max_error, mean_absolute_error, r2_score
from sklearn.model_selection import train_test_split

logger = logging.getLogger(__name__)


def split_data(table: pd.DataFrame, options: dict) -> list:
    """Split the table into features and prices, for training and for testing."""
    return train_test_split(
        table[options["features"]],
        table["price"],
        test_size=options["test_size"],
        random_state=options["random_state"],
    )


def train_model(X_train: pd.DataFrame, y_train: pd.Series) -> LinearRegression:
    """Fit prices to the features."""
    return LinearRegression().fit(X_train, y_train)


def evaluate_model(
    regressor: LinearRegression, X_test: pd.DataFrame, y_test: pd.Series
) -> dict[str, float]:
    """Measure the model on data that it has not seen; the errors are in dollars."""
    y_pred = regressor.predict(X_test)
    metrics = {
        "r2_score": float(r2_score(y_test, y_pred)),
        "mae": float(mean_absolute_error(y_test, y_pred)),
        "max_error": float(max_error(y_test, y_pred)),
    }
    logger.info("R2 on the test data: %.3f", metrics["r2_score"])
    return metrics
