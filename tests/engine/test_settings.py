"""airflow.yml is checked when the DAG is written: settings are accepted, or refused by name."""

import datetime as datetime_module
import re
from datetime import timedelta

import pytest
from airflow.sdk import TriggerRule
from airflow.timetables._cron import cron_presets
from flights.airflow_dag import settings
from hypothesis import example, given
from hypothesis import strategies as st
from jsonschema import Draft7Validator

SELECTORS = {
    "train_model_node": {
        *("train_model_node", "pipeline:data_science", "namespace:eu", "namespace:eu.west"),
        *("tag:slow", "tag:stage-1"),
    }
}
OF_DAG = ("dag", "graph", "task")
PARAMETERS = {"seed": 3, "model": {"size": 0.2, "kind": "linear", "fast": True}, "empty": None}


def check(default=None, section=None, params=None, selectors=SELECTORS):
    sections = {"default": default, "reporting": section, "--params": params}
    return settings.check(sections, selectors, PARAMETERS)


@pytest.mark.parametrize(
    "key, value, expected",
    [
        ("description", 'It\'s "R&D" {{ ds }}', 'It\'s "R&D" {{ ds }}'),
        ("schedule", None, None),
        ("schedule", "0 6 * * *", "0 6 * * *"),
        ("schedule", "*/5 0-6 1,15 * MON#1", "*/5 0-6 1,15 * MON#1"),
        ("schedule", "@daily", "@daily"),
        ("schedule", "12h", timedelta(hours=12)),
        ("start_date", "2024-01-31", "2024-01-31T00:00:00"),
        ("start_date", "2024-01-31T06:00:00+02:00", "2024-01-31T06:00:00+02:00"),
        ("start_date", [2024, 1, 31], "2024-01-31T00:00:00"),
        ("start_date", "2024-01-31 06:00:00", "2024-01-31T06:00:00"),
        ("start_date", None, None),
        ("timezone", "Europe/Berlin", "Europe/Berlin"),
        ("dagrun_timeout", 90, timedelta(minutes=90)),
        ("dagrun_timeout", 0.5, timedelta(seconds=30)),
        ("dagrun_timeout", "1d12h", timedelta(days=1, hours=12)),
        ("dagrun_timeout", None, None),
        ("on_failure_callback", "package.alerts.notify", "package.alerts.notify"),
        ("assets", ["model"], ["model"]),
        ("group_by", "tag:layer-", "tag:layer-"),
    ],
)
def test_setting_of_the_dag_is_accepted(key, value, expected):
    found = check({key: value})
    assert (found.dag | found.graph)[key] == expected


@pytest.mark.parametrize(
    "key, value, expected",
    [
        ("owner", "R&D", "R&D"),
        ("retries", 0, 0),
        ("retry_delay", "90s", timedelta(seconds=90)),
        ("retry_exponential_backoff", True, True),
        ("max_retry_delay", "1h", timedelta(hours=1)),
        ("execution_timeout", None, None),
        ("pool", "gpu", "gpu"),
        ("priority_weight", 3, 3),
        ("trigger_rule", "all_done", "all_done"),
        ("executor_config", {"a": {"b": 1}}, {"a": {"b": 1}}),
    ],
)
def test_setting_of_tasks_is_accepted_for_all_and_for_some(key, value, expected):
    assert check({key: value}).task == {key: expected}
    for selector in (
        "train_model_node",
        "pipeline:data_science",
        "namespace:eu.west",
        "namespace:eu",
        "tag:slow",
    ):
        found = check({"tasks": {selector: {key: value}}}).tasks
        assert found == {selector: {key: expected}}


@pytest.mark.parametrize(
    "given_settings, message",
    [
        ({"retires": 2}, "default: retires: unknown name; did you mean retries?"),
        ({"schedule_interval": "@daily"}, "did you mean schedule?"),
        ({"zzz": 1}, "expected one of description, schedule,"),
        ({"schedule": "daily"}, "default: schedule: 'daily' is not a cron expression"),
        ({"schedule": 5}, "default: schedule: 5 is not a cron expression"),
        ({"schedule": "* * * *"}, "a cron expression of five fields"),
        ({"start_date": "yesterday"}, "default: start_date: 'yesterday' is not a date"),
        ({"start_date": [2024, 13, 1]}, "[2024, 13, 1] is not a date"),
        ({"start_date": 2024}, "2024 is not a date"),
        ({"start_date": [2_147_483_648]}, "[2147483648] is not a date"),
        ({"timezone": "Berlin"}, "'Berlin' is not the name of a time zone"),
        ({"catchup": "no"}, "'no' is not true or false"),
        ({"max_active_runs": 0}, "0 is not a whole number from 1 to 1000000"),
        ({"tags": "kedro"}, "'kedro' is not a list of strings"),
        ({"owner": None}, "None is not a string"),
        ({"retries": "two"}, "'two' is not a whole number from 0 to 1000000"),
        ({"retries": True}, "True is not a whole number"),
        ({"retry_delay": "5 minutes"}, "'5 minutes' is not a number of minutes"),
        ({"execution_timeout": -1}, "-1 is not a number of minutes from 0.02 to 1000000, or a"),
        ({"on_failure_callback": "notify"}, "'notify' is not the import path of a function"),
        ({"trigger_rule": "sometimes"}, "'sometimes' is not one of all_success"),
        ({"group_by": "colour"}, "'colour' is not one of none, pipeline, namespace, tag:PREFIX"),
        ({"executor_config": []}, "[] is not a mapping"),
        ({"outlets": 1}, "1 is not true or false"),
        (
            {"params": {"model.sizes": None}},
            "model.sizes: unknown name; did you mean model",
        ),
        (
            {"params": {"model.size": None, "model": None}},
            "params: model already contains model.size: list only one of them",
        ),
        ({"params": {"seed": {"typ": "integer"}}}, "seed: typ: unknown name"),
        ({"params": {"seed": {"type": "int"}}}, "'int' is not one of boolean, integer, number"),
        ({"params": {"seed": {"type": "string"}}}, "seed: 3, its value in parameters.yml, is not"),
        ({"params": {"seed": {"maximum": 2}}}, "seed: 3, its value in parameters.yml, is not"),
        ({"params": {"seed": {"choices": [1, 2]}}}, "seed: 3, its value in parameters.yml, is not"),
        ({"params": {"seed": {"minimum": "1"}}}, "'1' is not a finite number"),
        ({"tasks": {"train_model": {"retries": 1}}}, "did you mean train_model_node?"),
        ({"tasks": {"tag:zzz": {}}}, "tasks: tag:zzz: matches no node"),
        ({"tasks": {"tag:slow": {"catchup": True}}}, "tag:slow: catchup: unknown name"),
        ({"tasks": {"tag:slow": {"retries": "x"}}}, "tag:slow: retries: 'x' is not"),
        ({"schedule": "@daily", "start_date": None}, "start_date: None is not a date"),
        ({"assets": ["a"], "schedule": "@daily", "start_date": "2024-01-01"}, "cannot both be set"),
    ],
    ids=str,
)
def test_refused_setting_is_named_with_its_value_and_what_is_accepted(given_settings, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        check(given_settings)


def test_trigger_rules_and_presets_are_airflows():
    presets = {preset for preset in cron_presets if preset != "@midnight"}
    kinds = settings.TABLES["kinds"]
    assert set(kinds["rule"]["enum"]) == {rule.value for rule in TriggerRule}
    assert set(kinds["schedule"]["anyOf"][0]["enum"]) == presets | {"@once", "@continuous"}


def test_form_fields_take_type_and_default_from_kedros_parameters():
    fields = {
        "seed": None,
        "model.size": {"maximum": 0.5, "description": "Share", "title": "Size"},
        "model.kind": {"choices": ["linear", "ridge"]},
        "model.fast": {},
        "empty": None,
    }
    assert check({"params": fields}).form == {
        "seed": {"default": 3, "type": "integer"},
        "model.size": {
            "default": 0.2,
            "maximum": 0.5,
            "description": "Share",
            "title": "Size",
            "type": "number",
        },
        "model.kind": {"default": "linear", "enum": ["linear", "ridge"], "type": "string"},
        "model.fast": {"default": True, "type": "boolean"},
        "empty": {"default": None},
    }
    assert check({"params": {"model": None}}).form == {
        "model": {"default": PARAMETERS["model"], "type": "object"}
    }


def test_section_of_a_pipeline_and_params_override_the_defaults():
    found = check(
        {"retries": 1, "catchup": True, "tasks": {"tag:slow": {"pool": "a", "retries": 9}}},
        {"retries": 2, "tasks": {"tag:slow": {"pool": "b"}}},
        {"retries": 3},
    )
    assert found == settings.Settings(
        dag={"catchup": True},
        task={"retries": 3},
        tasks={"tag:slow": {"pool": "b", "retries": 9}},
    )


def test_node_with_two_tags_to_group_by_is_refused():
    two = {"train_model_node": {"tag:stage-1", "tag:stage-2", "tag:slow"}}
    message = r"several tags of train_model_node: \['stage-1', 'stage-2'\]$"
    with pytest.raises(ValueError, match=message):
        check({"group_by": "tag:stage-"}, selectors=two)


values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=4,
)


@given(data=st.data())
def test_any_value_is_refused_by_name_or_written_as_it_is(data):
    key = data.draw(st.sampled_from([key for name in OF_DAG for key in settings.TABLES[name]]))
    value = data.draw(values)
    try:
        found = check({key: value})
    except ValueError as error:
        assert str(error).startswith(f"default: {key}: {value!r} is not ")
    else:
        assert (
            eval(repr(found.dag | found.task), {"datetime": datetime_module})
            == found.dag | found.task
        )


def has_whole_float(value):
    """Whether a value contains a number like 1.0: an integer in JSON, but not in YAML."""
    if isinstance(value, dict | list):
        return any(map(has_whole_float, value.values() if isinstance(value, dict) else value))
    return isinstance(value, float) and value.is_integer()


@given(
    st.sampled_from(sorted(settings.TABLES["kinds"])),
    values.filter(lambda value: not has_whole_float(value)),
)
@example("moment", [2024, 1, 31.5])
def test_schemas_mean_the_same_to_other_validators(kind, value):
    schema = settings.TABLES["kinds"][kind]
    assert settings.fits(value, schema) == Draft7Validator(schema).is_valid(value)
