"""Where the datasets of DAG runs are stored, and which of them all runs share."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from fsspec.utils import get_protocol
from kedro.config import MissingConfigException
from kedro.framework.context import KedroContext
from kedro.io import CatalogConfigResolver
from kedro.io.core import is_parameter
from kedro.pipeline import Pipeline
from omegaconf.errors import OmegaConfBaseException

FOLDER = "FOLDER-OF-A-RUN"
PRIVATE = re.compile(r"(?<=//)[^/]*@|\?.*")  # in a URL, as anywhere
INTERPOLATION = re.compile(r"\$\{(?:globals:)?([^{}]*)\}")


def shared_and_left(
    context: KedroContext, pipeline: Pipeline
) -> tuple[set[str], dict[str, list[str]]]:
    """Find the datasets that all runs store in one place, and those that a run leaves."""
    try:
        entries = stored(context, pipeline)
    except (MissingConfigException, OmegaConfBaseException):
        return set(), {}  # the tasks need to have it, not this command
    shared = {name for name, entry in entries.items() if is_shared(entry)}
    return shared, left(context, {name: entries[name] for name in pipeline.all_outputs()})


def is_shared(entry: Mapping[str, Any]) -> bool:
    """Return whether all runs store a dataset in the same place."""
    return not entry.get("versioned") and remains(entry)


def left(context: KedroContext, outputs: Mapping[str, dict[str, Any]]) -> dict[str, list[str]]:
    """List those outputs that remain after a run, by the folder or the type of their dataset.

    The folder is as the catalog has it, without the values in it, which may be secret or change.
    """
    written = CatalogConfigResolver(as_written(context), default_runtime_patterns={})
    found: dict[str, set[str]] = {}
    for name, entry in outputs.items():
        if remains(entry):
            path = PRIVATE.sub("", location(written.resolve_pattern(name)) or str(entry["type"]))
            found.setdefault(path.rpartition("/")[0] or path, set()).add(name.split("@")[0])
    return {place: sorted(found[place]) for place in sorted(found)}


def remains(entry: Mapping[str, Any]) -> bool:
    """Return whether a dataset is stored outside of the folder of a run."""
    return not (FOLDER in str(entry) or in_memory(entry))


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


def catalog_files(context: KedroContext, env: str) -> dict[str, str]:
    """Read the files that Kedro takes for an environment's catalog, by their paths in it."""
    loader: Any = context.config_loader
    folder = Path(loader.conf_source, env)
    paths = {path.relative_to(folder): path for path in sorted(folder.rglob("*.*"))}
    return {
        name.as_posix(): path.read_text(encoding="utf-8")
        for name, path in paths.items()
        if path.suffix in (".yml", ".yaml", ".json") and path.is_file()
        if any(part.startswith("catalog") for part in name.parts)
    }


def as_written(context: KedroContext) -> dict[str, Any]:
    """Load the catalog's configuration as it is in its files, with <storage> for a value."""
    loader: Any = context.config_loader
    entries: dict[str, Any] = {}
    for env in (loader.base_env, loader.env):
        for text in catalog_files(context, env).values():
            entries |= yaml.safe_load(INTERPOLATION.sub(r"<\1>", text)) or {}
    named = with_names_of_credentials(entries)
    return {
        name: entry if isinstance(entry, dict) else {}
        for name, entry in named.items()
        if not name.startswith("_")
    }


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
    path = location(entry)
    return path if path and get_protocol(path) in ("file", "local") else None


def location(entry: Mapping[str, Any]) -> str | None:
    """Return the path or URL of a dataset, or None if it has none, like a database's table."""
    path = entry.get("filepath", entry.get("path"))
    if path is None and isinstance(entry.get("dataset"), Mapping):  # of a CachedDataset
        return location(entry["dataset"])
    return str(path) if path else None
