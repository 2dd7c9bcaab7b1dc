"""`kedro airflow create`: kedro-airflow's own command, for this project's kind of DAG."""

import copy
import re
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
from omegaconf.errors import GrammarParseError, InterpolationResolutionError, KeyValidationError

from .dag_file import dag_file
from .graph import selectors, slug
from .settings import Settings, check, known
from .shared import shared_and_left

DEFAULTS = {"env": "airflow", "target_path": "dags", "jinja_file": None}
TEMPLATE = Path(__file__).with_name("dag.py.j2")

airflow: click.Group = copy.copy(kedro_airflow.plugin.airflow_commands)
airflow.commands = dict(airflow.commands)
kedro_airflow.plugin._load_config = lambda context: {}  # create() below passes what it has checked
options = [copy.copy(option) for option in kedro_airflow.plugin.create.params]
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
            stored = shared_and_left(context, pipelines[name])
            grouped = bool(given["node_grouping"])
            params = {"dag_file": partial(dag_file, settings, *stored, grouped)}
        else:
            params = for_template(settings)
        one = {"pipeline_names": [name], "params": params}
        command.invoke(kedro_airflow.plugin.create, **given | one)


def check_pipeline(
    context: KedroContext, name: str, params: dict[str, Any], package: str
) -> Settings:
    """Check the settings for a pipeline's DAG.

    Raises:
        click.ClickException: names the key, its value and what is accepted, or says where the
            file cannot be read.
    """
    check_names(name, str(context.env))
    file = f"conf/{context.env}/airflow.yml"
    loader: Any = context.config_loader
    loader.config_patterns.setdefault("airflow", ["airflow*", "airflow/**"])
    try:
        config = loader["airflow"]
    except MissingConfigException:
        config = {}
    except Exception as error:  # of Kedro, OmegaConf, PyYAML and Python
        raise click.ClickException(f"{file}: {problem(error)}") from None
    try:
        for section in config:
            known(section, section, ["default", *pipelines])
        sections = {section: config.get(section) for section in ("default", name)}
        choices = {node.name: selectors(node, package) for node in pipelines[name].nodes}
        return check({**sections, "--params": params}, choices, context.params)
    except ValueError as error:
        where = "" if str(error).startswith("--params") else f"{file}: "
        raise click.ClickException(f"{where}{error}") from None


def check_names(pipeline: str, env: str) -> None:
    """Check that a DAG's id and file can have the names of its pipeline and environment."""
    for name in (pipeline, env):
        if not re.fullmatch(r"[\w. -]{1,100}", name):
            accepted = "at most 100 letters, digits, spaces, dots, dashes and underscores"
            raise click.ClickException(f"{name!r} cannot name a DAG: rename it, with {accepted}")
    for other in set(pipelines) - {pipeline, "__default__"}:
        if pipeline != "__default__" and slug(other) == slug(pipeline):
            twice = f"The DAGs of the pipelines {pipeline!r} and {other!r} would have the same id"
            raise click.ClickException(f"{twice}: rename one of them")


def problem(error: BaseException) -> str:
    """Say in one sentence why a file of settings cannot be loaded."""
    if isinstance(error, yaml.YAMLError) and error.__cause__:
        error = error.__cause__  # Kedro's own error counts lines from 0
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark:
        return f"line {error.problem_mark.line + 1}: {str(error.problem).removeprefix('but ')}"
    if isinstance(error, UnicodeDecodeError):
        line = error.object.count(b"\n", 0, error.start) + 1
        return f"line {line}: {error.object[error.start : error.end]!r} is not UTF-8"
    if isinstance(error, RecursionError):
        return "it is nested too deeply, or an anchor contains itself"
    what = str(error).split("\n")[0].rstrip(".")
    if isinstance(error, AttributeError):  # Kedro takes what it found for a section's name
        what = f"found {error.obj!r}"
    if isinstance(error, AttributeError | KeyValidationError | OSError):
        what += "; expected names of sections and settings as keys, like `default: {retries: 2}`"
    elif isinstance(error, GrammarParseError | InterpolationResolutionError):
        what += "; write the value itself, or ${globals:KEY} for a key of globals.yml"
    key = getattr(error, "full_key", "")
    return f"{key}: {what}" if key and "[" not in key else what


def for_template(settings: Settings) -> dict[str, Any]:
    """Convert the settings to what kedro-airflow's own template, and others like it, read."""
    given = settings.dag | settings.task
    given.pop("env", None)  # there, the environment of Kedro, and not the variables of pods
    if start := given.get("start_date"):
        given["start_date"] = list(datetime.fromisoformat(start).timetuple()[:6])
    if "retry_delay" in given:
        given["retry_delay"] = given["retry_delay"].total_seconds() / 60
    if not given.get("schedule") or isinstance(given["schedule"], timedelta):
        given["schedule"] = "@once"  # the default there, which knows neither never nor intervals
    return given
