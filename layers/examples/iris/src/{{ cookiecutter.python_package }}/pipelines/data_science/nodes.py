import logging

import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score

logger = logging.getLogger(__name__)


def train_model(features: pd.DataFrame, species: pd.Series, max_iter: int) -> LogisticRegression:
    """Fit the species to the measurements."""
    return LogisticRegression(max_iter=max_iter).fit(features, species)


def predict(model: LogisticRegression, features: pd.DataFrame) -> np.ndarray:
    """Predict the species of flowers that the model has not seen."""
    return model.predict(features)


def report_accuracy(predictions: np.ndarray, species: pd.Series) -> dict[str, float]:
    """Compute the share of flowers whose species was predicted correctly."""
    accuracy = float(accuracy_score(species, predictions))
    logger.info("Accuracy on the test data: %.1f%%", 100 * accuracy)
    return {"accuracy": accuracy}
