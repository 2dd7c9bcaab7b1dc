"""The values a run is triggered with are data, and only those listed in airflow.yml count."""

import json
import re
from types import SimpleNamespace

import pytest
from airflow.sdk import DAG, Param
from airflow.sdk.definitions.param import process_params
from airflow.sdk.exceptions import AirflowFailException, ParamValidationError
from flights_airflow.dag import run_parameters
from flights_airflow.run import as_data
from hypothesis import example, given, settings
from hypothesis import strategies as st
from kedro.config import OmegaConfigLoader

LEAKS = [
    "${airflow.connection:warehouse,password}",
    "${airflow.variable:token}",
    "${globals:storage}",
    "${oc.env:HOME}",
    "${oc.decode:1}",
    "${runtime_params:airflow.run_id}",
    "${other}",
    "${.}",
    r"\${globals:storage}",
    r"\\${globals:storage}\\",
    "${",
    "${}",
]
texts = st.sampled_from(LEAKS) | st.text(st.sampled_from("a\\${}:.,?'\"")) | st.text()
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)
FORM = {
    "size": Param(0.2, type="number", minimum=0.05, maximum=0.5),
    "opts.count": Param(3, type="integer", minimum=1, maximum=9),
    "opts.kind": Param("a", type="string", enum=["a", "b"]),
    "deep": Param({"er": 1}, type="object"),
    "columns": Param(["x"], type="array"),
}


@pytest.fixture(scope="module")
def conf(tmp_path_factory):
    """Configuration that refers to a run's value in its parameters and its catalog."""
    conf = tmp_path_factory.mktemp("conf")
    (conf / "base").mkdir()
    (conf / "base" / "parameters.yml").write_text("other: 1\nnew: ${runtime_params:value}")
    (conf / "base" / "catalog.yml").write_text("table: {value: '${runtime_params:value}'}")
    (conf / "base" / "globals.yml").write_text("storage: SECRET")
    return conf


@given(values.filter(lambda value: "???" not in json.dumps(value)))
@example({leak: [leak] for leak in LEAKS})
def test_value_of_a_run_is_never_interpolated(conf, value):
    given = as_data({"value": value})
    loader = OmegaConfigLoader(
        str(conf), base_env="base", default_run_env="base", runtime_params=given
    )
    assert loader["parameters"] == {"other": 1, "new": value, "value": value}
    assert loader["catalog"] == {"table": {"value": value}}


def parameters(conf):
    """What a task passes to Kedro for a run with this conf, as Airflow merges it."""
    fields = {name: Param(field.value, **field.schema) for name, field in FORM.items()}
    dag = DAG("dag", schedule=None, params=fields)
    params = process_params(dag, SimpleNamespace(params={}), conf, suppress_exception=False)
    run = SimpleNamespace(run_id="manual__1", conf=conf)
    given = run_parameters({"dag_run": run, "params": params}, dag.params, run.run_id)
    del given["airflow"]
    return given


names = st.sampled_from([*FORM, "opts", "deep.er", "size.x", "airflow", "airflow.folder", "new"])
hostile = (
    values
    | st.sampled_from([0.05, 0.5, 0.51, 1, 9, 10, True, "a", "c", "???", 3.0, {"count": 99}])
    | st.sampled_from([float("nan"), float("inf"), {"er": float("nan")}, ["???"]])
)


def gets_past_nothing(conf_of_run):
    try:
        given = parameters(conf_of_run)
    except (AirflowFailException, ParamValidationError):
        return
    assert set(conf_of_run) <= set(FORM)
    assert set(given) == {"size", "opts", "deep", "columns"}
    assert set(given["opts"]) == {"count", "kind"}
    size, count = given["size"], given["opts"]["count"]
    assert isinstance(size, int | float) and not isinstance(size, bool) and 0.05 <= size <= 0.5
    assert type(count) in (int, float) and count == int(count) and 1 <= count <= 9
    assert given["opts"]["kind"] in ("a", "b")
    assert isinstance(given["deep"], dict) and isinstance(given["columns"], list)
    assert "???" not in json.dumps(given, allow_nan=False).split('"')


confs = st.dictionaries(names, hostile, max_size=4)


@given(confs)
def test_no_conf_gets_past_the_list_a_type_or_a_bound(conf_of_run):
    gets_past_nothing(conf_of_run)


@pytest.mark.slow
@settings(max_examples=1000)
@given(confs)
def test_none_of_many_confs_gets_past_the_list_a_type_or_a_bound(conf_of_run):
    gets_past_nothing(conf_of_run)


@pytest.mark.parametrize(
    "conf_of_run, said",
    [
        ({"opts": {"count": 99}}, "'opts', which is not a field"),
        ({"opts": "text"}, "'opts', which is not a field"),
        ({"airflow": {"folder": "x"}}, "'airflow', which is not a field"),
        ({"deep": {"er": ["???"]}}, "'deep' to '???', which Kedro cannot use"),
        ({"columns": [float("inf")]}, "'columns' to inf, which Kedro cannot use"),
    ],
)
def test_refused_conf_is_named_in_one_sentence_and_not_retried(conf_of_run, said):
    with pytest.raises(AirflowFailException, match=re.escape(said)) as refused:
        parameters(conf_of_run)
    assert "\n" not in str(refused.value)


def test_field_of_the_form_cannot_replace_what_describes_the_run():
    run = SimpleNamespace(run_id="mine")
    given = {"dag_run": run, "params": {"airflow.folder": "yours", "a.b": 1}}
    parameters = run_parameters(given, ["airflow.folder", "a.b"], "mine")
    assert parameters["a"] == {"b": 1}
    assert parameters["airflow"]["folder"] == parameters["airflow"]["run_id"] == "mine"
