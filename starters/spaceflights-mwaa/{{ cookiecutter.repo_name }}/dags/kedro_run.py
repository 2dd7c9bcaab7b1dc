"""Run nodes of a Kedro pipeline as a task of Airflow. Nothing here imports Airflow."""

from __future__ import annotations

import logging.config
import os
import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

if TYPE_CHECKING:
    from kedro_dag import Node, Pipeline


def run_nodes(
    nodes: Sequence[Node], pipeline: Pipeline, parameters: Mapping[str, Any], version: str
) -> None:
    """Run nodes of a Kedro pipeline.

    Args:
        nodes: what to run.
        pipeline: what the whole DAG runs; what that writes is read in this run's version.
        parameters: from ``run_parameters``.
        version: the version under which versioned datasets are saved.

    Raises:
        ValueError: the project's pipelines no longer have these nodes.
    """
    session = start_kedro(pipeline)
    session.run(
        pipeline_names=_needed_pipelines(nodes, pipeline.name),
        node_names=[node.name for node in nodes],
        runner=_runner(pipeline.outputs, version, parameters["airflow"]["folder"]),
        run_id=version,
        runtime_params=as_data(parameters),
    )


def remove_intermediate(pipeline: Pipeline, parameters: Mapping[str, Any]) -> None:
    """Remove the datasets that are stored below a folder named after the DAG run."""
    folder = parameters["airflow"]["folder"]
    catalog = start_kedro(pipeline).load_context(as_data(parameters)).catalog
    for name in sorted(pipeline.outputs):
        dataset = catalog.get(name)
        parts = Path(str(getattr(dataset, "_filepath", ""))).parts
        if folder in parts:
            root = str(Path(*parts[: parts.index(folder) + 1]))
            if dataset._fs.exists(root):
                dataset._fs.rm(root, recursive=True)
                logging.getLogger(__name__).info("Removed %s", root)


def as_data(value: Any) -> Any:
    """Escape what Kedro's configuration would resolve in a value, at any depth: ``${...}``."""
    if isinstance(value, str):
        return re.sub(r"(\\*)\$\{", r"\1\1\\${", value)
    if isinstance(value, Mapping):
        return {key: as_data(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [as_data(inner) for inner in value]
    return value


def start_kedro(pipeline: Pipeline) -> Any:
    """Configure Kedro for the project, without telemetry and without its log handlers."""
    os.environ["DO_NOT_TRACK"] = "1"
    config = pipeline.project_path / "conf" / "logging.yml"
    if config.is_file():
        os.environ["KEDRO_LOGGING_CONFIG"] = str(config)
    _leave_handlers_to_airflow()

    from kedro.framework.project import configure_project
    from kedro.framework.session import KedroServiceSession
    from kedro.framework.startup import bootstrap_project

    archive = None
    if (pipeline.project_path / "pyproject.toml").is_file():
        bootstrap_project(pipeline.project_path)
    else:
        configure_project(pipeline.package)
        archive = pipeline.project_path / "plugins" / f"conf-{pipeline.package}.zip"
    return KedroServiceSession.create(
        project_path=pipeline.project_path, env=pipeline.env, conf_source=archive
    )


def _leave_handlers_to_airflow() -> None:
    """Let logging.yml set levels only: the handlers that Airflow has given the task stay."""
    configure = logging.config.dictConfig

    def set_levels(config: dict[str, Any]) -> None:
        loggers = config.get("loggers", {}).items()
        levels = {name: {"level": logger["level"]} for name, logger in loggers if "level" in logger}
        configure({"version": 1, "incremental": True, "loggers": levels})

    logging.config.dictConfig = set_levels


def _needed_pipelines(nodes: Sequence[Node], pipeline_name: str) -> list[str]:
    """Choose the pipelines to load: those that hold the nodes, or else the DAG's own pipeline."""
    from kedro.framework.project import pipelines as registry

    def missing(names: list[str]) -> list[str]:
        registry.set_requested(names)
        loaded = {node.name: node for name in names for node in registry[name].nodes}
        return [
            node.name
            for node in nodes
            if node.name not in loaded
            or list(node.inputs) != loaded[node.name].inputs
            or list(node.outputs) != loaded[node.name].outputs
        ]

    folders = list(dict.fromkeys(node.pipeline for node in nodes))
    if None not in folders:
        try:
            if not missing(folders):
                return folders
        except Exception:  # e.g. registered under another name, or built from other pipelines
            logging.getLogger(__name__).debug("Loading all pipelines", exc_info=True)
    if changed := missing([pipeline_name]):
        raise ValueError(f"Changed since the DAG was written: {changed}. Run `make dag`.")
    return [pipeline_name]


def _runner(produced: Collection[str], version: str, folder: str) -> Any:
    """Create a runner that reads what this DAG run wrote, and can write it again in a retry.

    A versioned dataset is the run's own by its version, any other by the run's folder.
    """
    from kedro.io import AbstractVersionedDataset, Version
    from kedro.runner import SequentialRunner

    written = {_dataset(name) for name in produced}

    class Runner(SequentialRunner):
        def run(self, pipeline: Any, catalog: Any, *args: Any, **kwargs: Any) -> Any:
            for name in pipeline.datasets():
                dataset = catalog.get(name) if _dataset(name) in written else None
                if not isinstance(dataset, AbstractVersionedDataset):
                    continue
                if dataset._version:
                    dataset._version = Version(version, version)
                elif folder not in dataset._filepath.parts:
                    continue
                if name in pipeline.all_outputs() and hasattr(dataset, "_fs"):
                    _save_whole(dataset)
            return super().run(pipeline, catalog, *args, **kwargs)

    return Runner()


def _save_whole(dataset: Any) -> None:
    """Remove what an earlier try has saved, and let no one find what is not yet saved whole.

    On a disk, it is written under another name beside its own, and then renamed. In an object
    store an object appears when it is closed, also by an error in the middle: then it is removed.
    """
    from fsspec.implementations.local import LocalFileSystem

    fs, path, save = dataset._fs, dataset._get_load_path(), dataset.save

    def remove(*names: Any) -> None:
        for name in map(str, names):
            if fs.exists(name):
                fs.rm(name, recursive=True)

    if isinstance(fs, LocalFileSystem):
        unfinished = path.with_name(f"{path.stem}.unfinished-{uuid4().hex}{path.suffix}")
        remove(*fs.glob(str(path.with_name(f"{path.stem}.unfinished-*"))))
        dataset._get_save_path = lambda: unfinished

        def save_whole(data: Any) -> None:
            save(data)
            fs.mv(str(unfinished), str(path))
    else:

        def save_whole(data: Any) -> None:
            try:
                save(data)
            except BaseException:
                remove(path)
                raise

    remove(path)
    dataset.save = save_whole


def _dataset(name: str) -> str:
    """Drop the format that a transcoded dataset carries: table@pandas is table."""
    return name.split("@")[0]
