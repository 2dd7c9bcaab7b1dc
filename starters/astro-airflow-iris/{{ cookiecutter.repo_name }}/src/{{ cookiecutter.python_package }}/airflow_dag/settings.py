"""Check airflow.yml against the tables in settings.yml before a DAG is written."""

import json
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from difflib import get_close_matches
from importlib import import_module
from importlib.util import find_spec
from itertools import repeat
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo, available_timezones

import yaml

TYPES: dict[str, Any] = {
    "boolean": bool,
    "integer": int,
    "number": (int, float),
    "string": str,
    "array": list,
    "object": dict,
}
TABLES: dict[str, dict[str, Any]] = {}
for path in sorted(Path(__file__).parent.glob("settings*.yml")):
    for name, rows in yaml.safe_load(path.read_text(encoding="utf-8")).items():
        TABLES.setdefault(name, {}).update(rows)


# The keywords of JSON schema that settings.yml uses to describe a value.
KEYWORDS: dict[str, Callable[[Any, Any], bool]] = {
    "type": lambda value, name: (
        isinstance(value, TYPES[name]) and isinstance(value, bool) is (name == "boolean")
    ),
    "enum": lambda value, choices: json.dumps(value) in map(json.dumps, choices),
    "anyOf": lambda value, schemas: any(fits(value, schema) for schema in schemas),
    "minimum": lambda value, least: value >= least,
    "maximum": lambda value, most: value <= most,
    "minLength": lambda value, least: len(value) >= least,
    "maxLength": lambda value, most: len(value) <= most,
    "minItems": lambda value, least: len(value) >= least,
    "maxItems": lambda value, most: len(value) <= most,
    "pattern": lambda value, pattern: re.fullmatch(pattern, value) is not None,
    "items": lambda value, schema: all(fits(item, schema) for item in value),
    "propertyNames": lambda value, schema: all(fits(name, schema) for name in value),
    "additionalProperties": lambda value, schema: all(map(fits, value.values(), repeat(schema))),
}


def fits(value: Any, schema: Mapping[str, Any]) -> bool:
    """Return whether a value matches a schema."""
    return all(KEYWORDS[word](value, schema[word]) for word in schema if word in KEYWORDS)


def is_json(value: Any) -> bool:
    """Return whether a value is as in JSON, with text that a database takes.

    Raises:
        TypeError, ValueError: JSON cannot express a value, or UTF-8 a character.
    """
    text = json.dumps(value, ensure_ascii=False, allow_nan=False)
    return bool(text.encode()) and json.loads(text) == value and r"\u0000" not in text


@dataclass(frozen=True)
class Settings:
    """The checked settings of a DAG, as values for Airflow.

    ``dag``, ``graph`` and ``task`` come from the tables with those names. ``tasks`` are settings of
    the tasks that each selector matches, ``form`` the trigger form's fields, for Airflow's Param.
    """

    dag: dict[str, Any] = field(default_factory=dict)
    graph: dict[str, Any] = field(default_factory=dict)
    task: dict[str, Any] = field(default_factory=dict)
    tasks: dict[str, dict[str, Any]] = field(default_factory=dict)
    form: dict[str, dict[str, Any]] = field(default_factory=dict)


def check(
    sections: Mapping[str, Any],
    selectors: Mapping[str, Collection[str]],
    parameters: Mapping[str, Any],
) -> Settings:
    """Check the settings of one DAG.

    Args:
        sections: the settings by the section they are in; later sections override earlier ones.
        selectors: for each node's name, the keys in ``tasks`` that match the node.
        parameters: Kedro's parameters, the defaults of the trigger form.

    Raises:
        ValueError: names the key, its value and what is accepted.
    """
    found = Settings()
    tables = {key: name for name in ("dag", "graph", "task") for key in TABLES[name]}
    choices = {name for names in selectors.values() for name in names}
    for section, settings in sections.items():
        for key, value in mapping(section, settings).items():
            where = f"{section}: {key}"
            if table := tables.get(key):
                getattr(found, table)[key] = read(where, TABLES[table][key][0], value)
            elif key == "tasks":
                for selector, given in mapping(where, value).items():
                    kinds = "give a node's name, or the pipeline:, namespace: or tag: of nodes"
                    known(f"{where}: {selector}", selector, choices, "matches no node", kinds)
                    chosen = read_all(f"{where}: {selector}", "task", given)
                    found.tasks.setdefault(selector, {}).update(chosen)
            elif key == "params":
                for name, given in mapping(where, value).items():
                    found.form[name] = check_field(f"{where}: {name}", name, given, parameters)
            else:
                known(where, key, [*tables, "tasks", "params"])
    check_together(found, selectors)
    return found


def check_together(found: Settings, selectors: Mapping[str, Collection[str]]) -> None:
    """Check that settings agree with each other."""
    dag = found.dag
    for name in found.form:
        if inner := [other for other in found.form if other.startswith(f"{name}.")]:
            raise ValueError(f"params: {name} already contains {inner[0]}: list only one of them")
    if dag.get("assets") and dag.get("schedule"):
        raise ValueError("schedule and assets cannot both be set: make one of them null or []")
    scheduled = dag.get("schedule") or dag.get("assets")
    if scheduled and dag.setdefault("start_date", "2024-01-01T00:00:00") is None:
        raise ValueError("start_date: None is not a date, and a schedule needs one")
    if dag.get("schedule") == "@continuous" and dag.get("max_active_runs") != 1:
        runs = dag.get("max_active_runs")
        raise ValueError(f"max_active_runs: {runs} is not 1, which schedule: '@continuous' needs")
    if dag.get("start_date") and dag.get("end_date"):
        dates = [datetime.fromisoformat(dag[key]) for key in ("start_date", "end_date")]
        zone = ZoneInfo(dag.get("timezone", "UTC"))
        start, end = (date if date.tzinfo else date.replace(tzinfo=zone) for date in dates)
        if end < start:
            raise ValueError(
                f"end_date: {dag['end_date']} is before {dag['start_date']}, the start_date"
            )
    group_by = found.graph.get("group_by", "none")
    for node, names in selectors.items() if group_by.startswith("tag:") else ():
        tags = sorted(name.removeprefix("tag:") for name in names if name.startswith(group_by))
        if len(tags) > 1:
            raise ValueError(f"group_by: {group_by!r} matches several tags of {node}: {tags}")


def read(where: str, kind: str, value: Any) -> Any:
    """Read a value of this kind, or say where a wrong one is and what is accepted there."""
    name, _, null = kind.partition(" or ")
    schema = TABLES["kinds"][name]
    if null and value is None:
        return None
    try:
        if fits(value, schema) and is_json(value):
            return CONVERTERS[name](value) if name in CONVERTERS else value
    except (LookupError, OverflowError, TypeError, ValueError):
        pass
    accepted = schema.get("accepts") or f"one of {', '.join(schema['enum'])}"
    raise ValueError(f"{where}: {value!r} is not {accepted}{', or null' if null else ''}")


def mapping(where: str, value: Any) -> dict[Any, Any]:
    """Return a mapping, which is empty if all below its key is commented out."""
    if not isinstance(value, dict | None):
        raise ValueError(f"{where}: {value!r} is not a mapping")
    return value or {}


def read_all(where: str, table: str, values: Any) -> dict[str, Any]:
    """Read a mapping whose keys are settings of a table."""
    found = {}
    for key, value in mapping(where, values).items():
        known(f"{where}: {key}", key, TABLES[table])
        found[key] = read(f"{where}: {key}", TABLES[table][key][0], value)
    return found


def known(
    where: str,
    key: str,
    keys: Collection[str],
    problem: str = "unknown name",
    otherwise: str = "",
) -> None:
    """Refuse an unknown key, and suggest the closest known one."""
    if key not in keys:
        near = get_close_matches(str(key), keys, n=1)
        hint = f"did you mean {near[0]}?" if near else otherwise
        raise ValueError(f"{where}: {problem}; {hint or 'expected one of ' + ', '.join(keys)}")


def duration(value: float | str) -> timedelta:
    """Read a number of minutes, or a string like 90s, 15m, 2h or 1d12h."""
    if not isinstance(value, str):
        return timedelta(minutes=value)
    units = {"d": "days", "h": "hours", "m": "minutes", "s": "seconds"}
    parts = re.findall(r"(\d+)([dhms])", value)
    return sum((timedelta(**{units[unit]: int(n)}) for n, unit in parts), timedelta())


def moment(value: str | list[Any]) -> str:
    """Read a date, with its time and offset if it has them, and return it in ISO format."""
    if isinstance(value, list):
        found = datetime(*value)
    else:  # Python 3.10 does not read a Z
        found = datetime.fromisoformat(re.sub("Z$", "+00:00", value))
    if not 1970 <= found.year < 3000:
        raise ValueError(value)
    return found.isoformat()


def schedule(value: str) -> str | timedelta:
    """Read an interval; leave a preset, or a cron expression that fires, as it is."""
    if value.startswith("@"):
        return value
    if " " not in value:
        return duration(value)
    if find_spec("croniter"):  # comes with Airflow; a new project's DAG is written without it
        from croniter import croniter

        croniter(value).get_next()
    return value


def timezone(value: str) -> str:
    """Return the name of a time zone if there is one."""
    if value not in available_timezones():
        raise ValueError(value)
    return value


CONVERTERS: dict[str, Callable[[Any], Any]] = {
    "delay": duration,
    "duration": duration,
    "moment": moment,
    "schedule": schedule,
    "timezone": timezone,
}
for path in sorted(Path(__file__).parent.glob("settings_*.py")):
    CONVERTERS |= import_module(f"{__package__}.{path.stem}").CONVERTERS


def check_field(where: str, name: str, given: Any, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Check a field of the trigger form; its default is the parameter's value in Kedro."""
    defaults = dict(named(parameters))
    known(where, name, defaults)
    default = defaults[name]
    found = {"default": default, **read_all(where, "param", given)}
    for type_ in TYPES:
        if fits(default, {"type": type_}):
            found.setdefault("type", type_)
    if "choices" in found:
        found["enum"] = found.pop("choices")
    try:
        accepted = fits(default, found) and is_json(default)
    except (TypeError, ValueError):
        accepted = False
    if not accepted:
        raise ValueError(f"{where}: {default!r}, its value in parameters.yml, is not accepted here")
    return found


def named(parameters: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """List parameters by name, nested ones included: model_options.test_size."""
    for name, value in parameters.items():
        yield f"{prefix}{name}", value
        if isinstance(value, Mapping):
            yield from named(value, f"{prefix}{name}.")
