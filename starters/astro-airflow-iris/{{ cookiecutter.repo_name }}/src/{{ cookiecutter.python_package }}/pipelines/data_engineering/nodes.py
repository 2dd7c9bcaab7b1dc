import pandas as pd
from sklearn.model_selection import train_test_split


def split_data(iris: pd.DataFrame, options: dict) -> list:
    """Split the flowers into measurements and species, with the same share of each species."""
    species = iris["species"]
    return train_test_split(iris.drop(columns="species"), species, stratify=species, **options)
