"""Kedro's side: what a task does, in Airflow's process or, with ``python -m``, in a pod.

Nothing here imports Airflow.
"""

from __future__ import annotations

import logging
import os
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .model import Node, Run, stored_name

if TYPE_CHECKING:
    from kedro.framework.session import KedroServiceSession
    from kedro.runner import SequentialRunner

PROJECT = Path(__file__).resolve().parents[2]


def run(work: Run) -> None:
    """Run the nodes; without nodes, remove the intermediate data of the DAG run.

    Raises:
        ValueError: the project's pipelines no longer have these nodes.
    """
    session = start_kedro(work)
    parameters = as_data(work.parameters)
    if not work.nodes:
        return remove_intermediate(work, session.load_context(parameters).catalog)
    session.run(
        pipeline_names=needed_pipelines(work.nodes, work.pipeline),
        node_names=[node.name for node in work.nodes],
        runner=runner(work),
        run_id=work.version,
        runtime_params=parameters,
    )


def start_kedro(work: Run) -> KedroServiceSession:
    """Configure Kedro for the project, in its folder, without telemetry or log handlers."""
    os.environ["DO_NOT_TRACK"] = "1"
    levels = PROJECT / "conf" / "airflow" / "logging.yml"
    if levels.is_file():
        os.environ["KEDRO_LOGGING_CONFIG"] = str(levels)

    from kedro.framework.project import configure_project
    from kedro.framework.session import KedroServiceSession
    from kedro.framework.startup import bootstrap_project

    os.chdir(PROJECT)
    conf_source = str(PROJECT / work.conf_source) if work.conf_source else None
    if (PROJECT / "pyproject.toml").is_file():
        bootstrap_project(PROJECT)
    else:  # only the package is installed
        configure_project(work.package)
        conf_source = conf_source or str(PROJECT / "plugins" / f"conf-{work.package}.zip")
    return KedroServiceSession.create(project_path=PROJECT, env=work.env, conf_source=conf_source)


def as_data(value: Any) -> Any:
    """Escape ``${...}`` in a value, at any depth: Kedro's configuration would resolve it."""
    if isinstance(value, str):
        return re.sub(r"(\\*)\$\{", r"\1\1\\${", value)
    if isinstance(value, Mapping):
        return {key: as_data(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [as_data(inner) for inner in value]
    return value


def needed_pipelines(nodes: Sequence[Node], pipeline: str) -> list[str]:
    """Choose the pipelines to load: those that contain the nodes, or else the DAG's own."""
    from kedro.framework.project import pipelines

    def changed(names: list[str]) -> list[str]:
        pipelines.set_requested(names)
        loaded = {node.name: node for name in names for node in pipelines[name].nodes}
        return [
            node.name
            for node in nodes
            if node.name not in loaded
            or list(node.inputs) != loaded[node.name].inputs
            or list(node.outputs) != loaded[node.name].outputs
        ]

    folders = list(dict.fromkeys(node.pipeline for node in nodes if node.pipeline))
    if all(node.pipeline for node in nodes):
        try:
            if not changed(folders):
                return folders
        except Exception:  # e.g. registered under another name, or built from other pipelines
            logging.getLogger(__name__).debug("Loading all pipelines", exc_info=True)
    if names := changed([pipeline]):
        raise ValueError(f"Changed since the DAG was written: {names}. Run `make dag`.")
    return [pipeline]


def runner(work: Run) -> SequentialRunner:
    """Create a runner that reads this DAG run's own data, and saves it whole, also in a retry.

    The run's own datasets are the versioned ones, and those stored in the run's folder.
    """
    from kedro.pipeline import Pipeline
    from kedro.runner import SequentialRunner, Task

    from .kedro_internals import inner, pin_version
    from .storage import Output, belongs_to, output, refuse_unfinished, saved_whole

    folder = work.parameters["airflow"]["folder"]
    written = set(map(stored_name, work.written))

    class Runner(SequentialRunner):
        def _run(
            self, pipeline: Pipeline, catalog: Any, hook_manager: Any = None, run_id: Any = None
        ) -> None:
            outputs: dict[str, Output | None] = {}
            for name in pipeline.datasets():
                dataset = catalog.get(name)
                if stored_name(name) in written:
                    own = pin_version(inner(dataset), work.version) or belongs_to(dataset, folder)
                    outputs[name] = output(dataset, work.version, own)
                refuse_unfinished(dataset)
            confirm = catalog.confirm
            for node in pipeline.nodes:
                confirmed: list[str] = []
                catalog.confirm = confirmed.append
                with saved_whole([saved for name in node.outputs if (saved := outputs[name])]):
                    Task(node, catalog, False, hook_manager, run_id).execute()
                for name in confirmed:
                    confirm(name)
                self._logger.info("Completed node: %s", node.name)

    return Runner()


def remove_intermediate(work: Run, catalog: Any) -> None:
    """Remove the folders in which this DAG run has stored datasets."""
    from .storage import remove_folder

    for name in work.written:
        if removed := remove_folder(catalog.get(name), work.parameters["airflow"]["folder"]):
            logging.getLogger(__name__).info("Removed %s", removed)


if __name__ == "__main__":
    form = "%(asctime)s %(levelname)s %(name)s: %(message)s"
    logging.basicConfig(level=logging.INFO, format=form, datefmt="%H:%M:%S", stream=sys.stdout)
    run(Run.from_json(sys.argv[1]))
