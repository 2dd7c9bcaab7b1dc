"""`kedro airflow create`: kedro-airflow's own command, for this project's kind of DAG."""

import copy
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import click
import kedro_airflow.plugin
import yaml
from kedro.config import MissingConfigException
from kedro.framework.context import KedroContext
from kedro.framework.project import pipelines
from kedro.framework.session import KedroSession
from kedro.io import CatalogConfigResolver
from omegaconf.errors import OmegaConfBaseException

from .dag_file import dag_file
from .graph import selectors
from .settings import Settings, check, known

DEFAULTS = {"env": "airflow", "target_path": "dags", "jinja_file": None}
TEMPLATE = Path(__file__).with_name("dag.py.j2")

airflow: click.Group = copy.copy(kedro_airflow.plugin.airflow_commands)
airflow.commands = dict(airflow.commands)
options = copy.deepcopy(kedro_airflow.plugin.create.params)
for option in options:
    option.default = DEFAULTS.get(str(option.name), option.default)
    if isinstance(option, click.Option) and option.name == "env":
        option.help = "Kedro configuration environment name. Defaults to `airflow`."


@airflow.command(params=options)
@click.pass_context
def create(command: click.Context, /, **given: Any) -> None:
    """Create this project's Airflow DAG, with the settings in airflow.yml."""
    if given["convert_all"] and given["pipeline_names"] != ["__default__"]:
        raise click.BadParameter("The `--all` and `--pipelines` option are mutually exclusive.")
    project = command.obj
    session = KedroSession.create(project_path=project.project_path, env=given["env"])
    context = session.load_context()
    names = list(pipelines) if given["convert_all"] else given["pipeline_names"]
    if unknown := [name for name in names if name not in pipelines]:
        raise click.ClickException(f"Pipeline {unknown[0]} not found.")
    checked = {
        name: check_pipeline(context, name, given["params"], project.package_name) for name in names
    }
    given |= {"convert_all": False, "jinja_file": given["jinja_file"] or TEMPLATE}
    for name, settings in checked.items():
        if given["jinja_file"] == TEMPLATE:
            shared = shared_datasets(context, name)
            grouped = bool(given["node_grouping"])
            params = {"dag_file": partial(dag_file, settings, shared, grouped)}
        else:
            params = for_template(settings) | given["params"]
        one = {"pipeline_names": [name], "params": params}
        command.invoke(kedro_airflow.plugin.create, **given | one)


def check_pipeline(
    context: KedroContext, name: str, params: dict[str, Any], package: str
) -> Settings:
    """Check the settings for a pipeline's DAG.

    Raises:
        click.ClickException: names the key, its value and what is accepted, or says where the
            file is not valid YAML.
    """
    loader: Any = context.config_loader
    loader.config_patterns.setdefault("airflow", ["airflow*", "airflow/**"])
    try:
        config = loader["airflow"]
    except MissingConfigException:
        config = {}
    except yaml.YAMLError as error:
        raise click.ClickException(str(error)) from None
    try:
        for section in config:
            known(section, section, ["default", *pipelines])
        sections = {section: config.get(section) for section in ("default", name)}
        choices = {node.name: selectors(node, package) for node in pipelines[name].nodes}
        return check({**sections, "--params": params}, choices, context.params)
    except ValueError as error:
        raise click.ClickException(f"conf/{context.env}/airflow.yml: {error}") from None


def shared_datasets(context: KedroContext, pipeline: str) -> set[str]:
    """Find the datasets of a pipeline that all DAG runs store in the same place."""
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
    stored = {name: resolver.resolve_pattern(name) for name in pipelines[pipeline].datasets()}
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


def for_template(settings: Settings) -> dict[str, Any]:
    """Convert the settings to what kedro-airflow's own template, and others like it, read."""
    given = settings.dag | settings.task
    if start := given.get("start_date"):
        given["start_date"] = list(datetime.fromisoformat(start).timetuple()[:6])
    if "retry_delay" in given:
        given["retry_delay"] = given["retry_delay"].total_seconds() / 60
    if not given.get("schedule") or isinstance(given["schedule"], timedelta):
        given["schedule"] = "@once"  # the default there, which knows neither never nor intervals
    return given
