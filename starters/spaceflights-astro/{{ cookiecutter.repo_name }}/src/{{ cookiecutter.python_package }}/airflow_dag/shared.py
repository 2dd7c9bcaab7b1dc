"""Where the datasets of DAG runs are stored, and which of them all runs share."""

from collections.abc import Iterator, Mapping
from typing import Any

from fsspec.utils import get_protocol
from kedro.config import MissingConfigException
from kedro.framework.context import KedroContext
from kedro.io import CatalogConfigResolver
from kedro.io.core import is_parameter
from kedro.pipeline import Pipeline
from omegaconf.errors import OmegaConfBaseException

FOLDER = "FOLDER-OF-A-RUN"


def shared_datasets(context: KedroContext, pipeline: Pipeline) -> set[str]:
    """Find those of a pipeline that are neither versioned nor in the folder of a run."""
    try:
        entries = stored(context, pipeline)
    except (MissingConfigException, OmegaConfBaseException):
        return set()  # the tasks need to have it, not this command
    return {name for name, entry in entries.items() if is_shared(entry)}


def is_shared(entry: Mapping[str, Any]) -> bool:
    """Return whether all runs store a dataset in the same place."""
    return not (entry.get("versioned") or FOLDER in str(entry) or in_memory(entry))


def in_memory(entry: Mapping[str, Any]) -> bool:
    """Return whether a dataset is not stored at all."""
    return str(entry["type"]).endswith("MemoryDataset")


def stored(context: KedroContext, pipeline: Pipeline) -> dict[str, dict[str, Any]]:
    """Resolve the catalog's entries of a pipeline's datasets, with FOLDER as the run's folder.

    In place of credentials they have a mapping with the name of these.
    """
    entries = with_names_of_credentials(catalog(context))
    resolver = CatalogConfigResolver(entries, default_runtime_patterns={})
    names = (name for name in pipeline.datasets() if not is_parameter(name))
    return {name: resolver.resolve_pattern(name) for name in names}


def catalog(context: KedroContext) -> dict[str, Any]:
    """Load the catalog's configuration as the tasks of a DAG run do."""
    loader: Any = context.config_loader
    before, loader.runtime_params = loader.runtime_params, {"airflow": {"folder": FOLDER}}
    try:
        return dict(loader["catalog"])
    finally:
        loader.runtime_params = before


def with_names_of_credentials(entry: Any) -> Any:
    """Copy entries of the catalog so that Kedro does not look for their credentials."""
    if not isinstance(entry, dict):
        return entry
    copied = {key: with_names_of_credentials(value) for key, value in entry.items()}
    if isinstance(name := entry.get("credentials"), str):
        copied["credentials"] = {"name": name}
    return copied


def without_credentials(entry: Any) -> Any:
    """Copy entries of the catalog without their credentials."""
    if not isinstance(entry, dict):
        return entry
    kept = {key: value for key, value in entry.items() if key != "credentials"}
    return {key: without_credentials(value) for key, value in kept.items()}


def credentials(entry: Any) -> Iterator[str]:
    """List the names of credentials in entries of the catalog."""
    for key, value in entry.items() if isinstance(entry, dict) else ():
        if key == "credentials" and isinstance(value, str):
            yield value
        yield from credentials(value)


def path_of(entry: Mapping[str, Any]) -> str | None:
    """Return the path of a dataset on this machine's disk, or None if it is elsewhere."""
    path = entry.get("filepath", entry.get("path"))
    if path is None and isinstance(entry.get("dataset"), Mapping):  # of a CachedDataset
        return path_of(entry["dataset"])
    return str(path) if path and get_protocol(str(path)) in ("file", "local") else None
