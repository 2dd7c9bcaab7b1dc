"""Check airflow.yml when `kedro airflow create` writes a DAG, before anything is written.

The checked settings reach the template conf/airflow/dag.py.j2: ``dag`` for the DAG as a whole,
``task`` for every task, ``tasks`` for some of them, ``form`` for the fields of the trigger form,
``docs`` with the docstrings of the nodes.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from datetime import date, datetime, timedelta
from difflib import get_close_matches
from inspect import cleandoc
from typing import Any
from zoneinfo import ZoneInfo

import click
import yaml
from kedro.config import MissingConfigException
from kedro.framework.hooks import hook_impl
from kedro.framework.project import pipelines

PRESETS = "@once @continuous @hourly @daily @weekly @monthly @quarterly @yearly".split()
TRIGGER_RULES = """
    all_success all_failed all_done all_done_min_one_success all_done_setup_success all_skipped
    always none_failed none_failed_min_one_success none_skipped one_done one_failed one_success
""".split()
TYPES = {
    "boolean": bool,
    "integer": int,
    "number": (int, float),
    "string": str,
    "array": list,
    "object": dict,
}
UNITS = {"d": "days", "h": "hours", "m": "minutes", "s": "seconds"}

# A parser returns the value for Airflow, or raises ValueError with what it accepts.


def optional(parse: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Accept null too."""

    def parse_optional(value: Any) -> Any:
        try:
            return None if value is None else parse(value)
        except ValueError as error:
            raise ValueError(f"{error}, or null") from None

    return parse_optional


def boolean(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError("true or false")
    return value


def count(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ValueError("a whole number from 0")
    return value


def positive(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError("a whole number from 1")
    return value


def text(value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError("a text")
    return value


def number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError("a number")
    return value


def choices(value: Any) -> list:
    if not isinstance(value, list) or not value:
        raise ValueError("a list of values, such as [small, large]")
    return value


def param_type(value: Any) -> str:
    if value not in TYPES:
        raise ValueError(f"one of {', '.join(TYPES)}")
    return value


def texts(value: Any) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(item, str) and item for item in value):
        raise ValueError("a list of texts, such as [kedro]")
    return value


def mapping(value: Any) -> dict:
    if not isinstance(value, dict):
        raise ValueError("a mapping")
    return value


def duration(value: Any) -> timedelta:
    """Read minutes, or a text such as 90s, 15m, 2h or 1d12h."""
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 1e9:
        return timedelta(minutes=value)
    if isinstance(value, str) and re.fullmatch(r"(\d{1,6}[dhms])+", value):
        parts = re.findall(r"(\d+)([dhms])", value)
        return sum((timedelta(**{UNITS[unit]: int(n)}) for n, unit in parts), timedelta())
    raise ValueError("a number of minutes, or a text such as 90s, 15m, 2h or 1d12h")


def moment(value: Any) -> str:
    """Read a date, as ISO text, with a time and an offset if they are given."""
    try:
        if isinstance(value, list):
            return datetime(*value).isoformat()
        if isinstance(value, date):
            return value.isoformat()
        return datetime.fromisoformat(value).isoformat()
    except (OverflowError, TypeError, ValueError):
        raise ValueError("a date such as 2024-01-31 or [2024, 1, 31]") from None


def schedule(value: Any) -> str | timedelta:
    if isinstance(value, str):
        if value in PRESETS or re.fullmatch(r"[\w*/,#?-]+( +[\w*/,#?-]+){4}", value):
            return value
        if re.fullmatch(r"(\d+[dhms])+", value):
            return duration(value)
    raise ValueError(
        f"a cron expression of five fields, an interval such as 12h, or one of {', '.join(PRESETS)}"
    )


def timezone(value: Any) -> str:
    try:
        return ZoneInfo(value).key
    except Exception:
        raise ValueError("the name of a time zone, such as Europe/Berlin") from None


def import_path(value: Any) -> str:
    if not isinstance(value, str) or not re.fullmatch(r"[^\W\d]\w*(\.[^\W\d]\w*)+", value):
        raise ValueError("the import path of a function, such as my_package.alerts.notify")
    return value


def trigger_rule(value: Any) -> str:
    if value not in TRIGGER_RULES:
        raise ValueError(f"one of {', '.join(TRIGGER_RULES)}")
    return value


def group_by(value: Any) -> str:
    if value in ("none", "pipeline", "namespace"):
        return value
    if isinstance(value, str) and re.fullmatch("tag:.+", value):
        return value
    raise ValueError("none, pipeline, namespace, or tag:PREFIX")


DAG: dict[str, Callable[[Any], Any]] = {
    "description": optional(text),
    "schedule": optional(schedule),
    "assets": texts,
    "start_date": optional(moment),
    "end_date": optional(moment),
    "timezone": timezone,
    "catchup": boolean,
    "max_active_runs": positive,
    "dagrun_timeout": optional(duration),
    "tags": texts,
    "on_success_callback": optional(import_path),
    "on_failure_callback": optional(import_path),
    "group_by": group_by,
    "outlets": boolean,
    "keep_intermediate": boolean,
}
PARAM: dict[str, Callable[[Any], Any]] = {
    "type": param_type,
    "title": text,
    "description": text,
    "minimum": number,
    "maximum": number,
    "choices": choices,
}
TASK: dict[str, Callable[[Any], Any]] = {
    "owner": text,
    "retries": count,
    "retry_delay": duration,
    "retry_exponential_backoff": boolean,
    "max_retry_delay": optional(duration),
    "execution_timeout": optional(duration),
    "pool": text,
    "queue": text,
    "priority_weight": count,
    "depends_on_past": boolean,
    "trigger_rule": trigger_rule,
    "executor_config": mapping,
}


class AirflowSettings:
    """The hook that checks airflow.yml; register it in settings.py."""

    @hook_impl
    def after_context_created(self, context: Any) -> None:
        """Replace the sections of airflow.yml by checked ones, one for each DAG to write.

        Raises:
            click.ClickException: with the key, its value, and what is accepted, or the place of
                what is no YAML.
        """
        command = click.get_current_context(silent=True)
        if command is None or "jinja_file" not in command.params:
            return
        try:
            config = context.config_loader["airflow"]
        except MissingConfigException:
            config = {}
        except yaml.YAMLError as error:
            raise click.ClickException(str(error)) from None
        given = command.params
        names = list(pipelines) if given["convert_all"] else given["pipeline_names"]
        where = f"conf/{given['env']}/airflow.yml"
        try:
            for section in config:
                known(section, section, ["default", *pipelines])
            checked = {
                name: check(
                    config, name, given["params"], list(pipelines[name].nodes), context.params
                )
                | {"grouping": given["node_grouping"], "docs": docstrings(pipelines[name].nodes)}
                for name in names
                if name in pipelines
            }
        except ValueError as error:
            raise click.ClickException(f"{where}: {error}") from None
        context.config_loader["airflow"] = checked


def docstrings(nodes: list) -> dict[str, str]:
    """Take the docstring of each node's function, without its indentation."""
    docs = {node.name: node.func.__doc__ for node in nodes}
    return {name: cleandoc(doc) for name, doc in docs.items() if isinstance(doc, str)}


def check(
    config: Mapping, pipeline: str, params: Mapping, nodes: list, parameters: Mapping
) -> dict[str, dict]:
    """Check the settings of one pipeline: those of ``default``, its own section, and ``--params``.

    Raises:
        ValueError: with the key, its value, and what is accepted.
    """
    dag: dict[str, Any] = {}
    task: dict[str, Any] = {}
    tasks: dict[str, dict[str, Any]] = {}
    form: dict[str, dict[str, Any]] = {}
    sections = {"default": config.get("default"), pipeline: config.get(pipeline)}
    for section, settings in [*sections.items(), ("--params", params)]:
        for key, value in (settings or {}).items():
            where = f"{section}: {key}"
            if key in DAG:
                dag[key] = parse(where, DAG[key], value)
            elif key in TASK:
                task[key] = parse(where, TASK[key], value)
            elif key == "tasks":
                for selector, overrides in parse(where, mapping, value).items():
                    check_selector(f"{where}: {selector}", selector, nodes)
                    chosen = tasks.setdefault(selector, {})
                    for name, setting in parse(f"{where}: {selector}", mapping, overrides).items():
                        known(f"{where}: {selector}: {name}", name, TASK)
                        chosen[name] = parse(f"{where}: {selector}: {name}", TASK[name], setting)
            elif key == "params":
                for name, field in parse(where, mapping, value).items():
                    form[name] = check_field(f"{where}: {name}", name, field or {}, parameters)
            else:
                known(where, key, [*DAG, *TASK, "tasks", "params"])
    for name in form:
        if inner := [other for other in form if other.startswith(f"{name}.")]:
            raise ValueError(f"params: {name} holds {inner[0]} already: list only one of them")
    if dag.get("assets") and dag.get("schedule"):
        raise ValueError("schedule and assets exclude each other: set one of them to null or []")
    if dag.get("schedule") and dag.setdefault("start_date", "2024-01-01T00:00:00") is None:
        raise ValueError("start_date: None is not a date, which a schedule needs")
    prefix = dag.get("group_by", "none").partition("tag:")[2]
    for node in nodes if prefix else []:
        found = sorted(tag for tag in node.tags if tag.startswith(prefix))
        if len(found) > 1:
            raise ValueError(f"group_by: 'tag:{prefix}': the node {node.name} has {found}")
    return {"dag": dag, "task": task, "tasks": tasks, "form": form}


def parse(where: str, parser: Callable[[Any], Any], value: Any) -> Any:
    """Read a value, or say where it is and what is accepted there."""
    try:
        return parser(value)
    except ValueError as error:
        raise ValueError(f"{where}: {value!r} is not {error}") from None


def known(where: str, key: str, keys: Any) -> None:
    """Refuse a key that does not exist, and name the nearest one."""
    if key not in keys:
        near = get_close_matches(str(key), keys, n=1)
        hint = f"did you mean {near[0]}?" if near else f"accepted are {', '.join(keys)}"
        raise ValueError(f"{where}: there is no such name; {hint}")


def check_selector(where: str, selector: str, nodes: list) -> None:
    """Refuse a selector of tasks that chooses no node."""
    choices = {node.name for node in nodes}
    for node in nodes:
        choices |= {f"tag:{tag}" for tag in node.tags}
        choices |= {f"namespace:{name}" for name in node.namespace_prefixes}
        module = (getattr(node.func, "__module__", None) or "").split(".")
        choices |= {f"pipeline:{name}" for name in module[2:3]}
    if selector not in choices:
        near = get_close_matches(str(selector), choices, n=1)
        hint = f"did you mean {near[0]}?" if near else "give the name of a node, or a pipeline:, "
        raise ValueError(
            f"{where}: no node is chosen; {hint}" + ("" if near else "namespace: or tag: of nodes")
        )


def check_field(where: str, name: str, field: Any, parameters: Mapping) -> dict[str, Any]:
    """Check a field of the trigger form, whose default is Kedro's value of the parameter."""
    names = list(parameter_names(parameters))
    known(where, name, names)
    default: Any = parameters
    for part in name.split("."):
        default = default[part]
    found = {"default": default}
    for key, value in parse(where, mapping, field).items():
        known(f"{where}: {key}", key, PARAM)
        found[key] = parse(f"{where}: {key}", PARAM[key], value)
    if "type" not in found and default is not None:
        found["type"] = next(name for name, type_ in TYPES.items() if isinstance(default, type_))
    low, high = found.get("minimum"), found.get("maximum")
    right_type = "type" not in found or isinstance(default, TYPES[found["type"]])
    inside = (low is None or default >= low) and (high is None or default <= high)
    if not right_type or not inside or default not in found.get("choices", [default]):
        raise ValueError(f"{where}: {default!r}, its value in parameters.yml, is not accepted here")
    return found


def parameter_names(parameters: Mapping, prefix: str = "") -> Iterator[str]:
    """List the names of parameters, those in parameters too: model_options.test_size."""
    for name, value in parameters.items():
        yield f"{prefix}{name}"
        if isinstance(value, Mapping):
            yield from parameter_names(value, f"{prefix}{name}.")
