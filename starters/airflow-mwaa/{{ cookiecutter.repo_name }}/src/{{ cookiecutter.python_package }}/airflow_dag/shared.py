"""The datasets that all DAG runs store in the same place."""

from typing import Any

from kedro.config import MissingConfigException
from kedro.framework.context import KedroContext
from kedro.io import CatalogConfigResolver
from kedro.pipeline import Pipeline
from omegaconf.errors import OmegaConfBaseException


def shared_datasets(context: KedroContext, pipeline: Pipeline) -> set[str]:
    """Find those of a pipeline: neither versioned nor in the folder of a run."""
    loader: Any = context.config_loader
    folder = "FOLDER-OF-A-RUN"
    before, loader.runtime_params = loader.runtime_params, {"airflow": {"folder": folder}}
    try:
        entries = without_credentials(loader["catalog"])
    except (MissingConfigException, OmegaConfBaseException):
        return set()  # the tasks need to have it, not this command
    finally:
        loader.runtime_params = before
    resolver = CatalogConfigResolver(entries, default_runtime_patterns={})
    stored = {name: resolver.resolve_pattern(name) for name in pipeline.datasets()}
    return {
        name
        for name, entry in stored.items()
        if not entry.get("versioned") and folder not in str(entry)
        if not str(entry["type"]).endswith("MemoryDataset")
    }


def without_credentials(entry: Any) -> Any:
    """Copy entries of the catalog without the names of their credentials."""
    if not isinstance(entry, dict):
        return entry
    kept = {key: value for key, value in entry.items() if key != "credentials"}
    return {key: without_credentials(value) for key, value in kept.items()}
