"""Whatever airflow.yml contains: one sentence says what is wrong, or Airflow schedules the DAG."""

import inspect
import os
import re
from types import SimpleNamespace

import click
import kedro_airflow.plugin
import pytest
import yaml
from airflow.dag_processing.dagbag import DagBag
from airflow.serialization.serialized_objects import DagSerialization, LazyDeserializedDAG
from freight.airflow_dag import create
from freight.airflow_dag.dag_file import dag_file
from freight.airflow_dag.settings import TABLES, read
from hypothesis import given, settings
from hypothesis import strategies as st
from kedro.config import OmegaConfigLoader
from kedro.pipeline import Node, Pipeline

from tests.engine.test_graph import function

DATA, SCIENCE = (function(f"freight.pipelines.{name}.nodes") for name in ("data", "science"))
PIPELINE = Pipeline(
    [
        Node(DATA, "raw", "table", name="clean", tags=["slow", "stage-1"]),
        Node(SCIENCE, ["table", "params:size"], "model", name="train", tags=["stage-2"]),
    ]
)
PARAMETERS = {"size": 3, "model": {"share": 0.2, "kind": "a", "tags": ["x"]}, "empty": None}
PARAMETERS |= {"a.b": 1, "nan": float("nan")}
FILE = "conf/airflow/airflow.yml: "


@pytest.fixture(scope="module")
def write(tmp_path_factory):
    """Write the DAG file for an airflow.yml, as `kedro airflow create` does."""
    conf = tmp_path_factory.mktemp("conf")
    for env in ("base", "airflow"):
        (conf / env).mkdir()
    (conf / "base" / "globals.yml").write_text("storage: data")

    def write(content, params=None, name="__default__", env="airflow"):
        (conf / "airflow" / "airflow.yml").write_bytes(content)
        loader = OmegaConfigLoader(str(conf), "airflow", base_env="base", default_run_env="local")
        context = SimpleNamespace(config_loader=loader, env=env, params=PARAMETERS)
        checked = create.check_pipeline(context, name, params or {}, "freight")
        return dag_file(checked, set(), {}, False, name, PIPELINE, [], "freight", env, "")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(create, "pipelines", {"__default__": PIPELINE, "science": PIPELINE})
        yield write


def refused(write, content, **options):
    with pytest.raises(click.ClickException) as error:
        write(content, **options)
    return error.value.format_message()


def schedule(text):
    """Load the DAG in a file's text and compute its next runs, as Airflow does."""
    names = {"__file__": os.path.abspath("dag.py")}
    exec(compile(text, "dag.py", "exec"), names)
    dag = names["dag"]
    dag.fileloc = dag.relative_fileloc = "dag.py"
    dag.validate()
    DagBag(os.devnull, collect_dags=False).bag_dag(dag)
    serialized = LazyDeserializedDAG(data=DagSerialization.to_dict(dag))
    assert serialized.hash and len(serialized.owner) <= 2000
    assert len(serialized.timetable.description) <= 1000
    first = serialized.next_dagrun_info(last_automated_run_info=None)
    return first and serialized.next_dagrun_info(last_automated_run_info=first)


# Values of all kinds, and of none.
VALUES = [
    *(None, True, False, 0, 1, -1, 1_000_000, 1_000_001, 2**31, 2**63, 10**30, 0.02, 1.5, 1e-9),
    *(1e300, float("inf"), float("nan"), "", " ", "a", "x" * 100, "x" * 101, "x" * 256, "x" * 257),
    *("\0", "\ud800", "😀", "a\nb", "{{ ds }}", b"x", "0s", "1s", "12h", "9999d99999h", "1d" * 9),
    *("@once", "@continuous", "@daily", "@reboot", "61 6 * * *", "0 6 30 2 *", "0 0 29 2 *"),
    *("*/7 * * * *", "0 0 * 2 5#5", "0 0 l * *", "R R * * *", "0 0 1-7 * mon", "0 2 * * sun,fri#2"),
    *("1969-12-31", "1970-01-01", "2024-01-31", "2999-12-31", "9999-12-31", "2024-02-30"),
    *("1970-01-01T00:00:00+23:59", "2024-03-31T02:30:00", "2024-06-01T00:00:00.000001+00:00:01"),
    *([2024, 1, 31], [2024, 1, 31, 6, 30], [2024, 1, True], [1, 1, 1], [2024] * 9),
    *("UTC", "Europe/Berlin", "Asia/Kathmandu", "Africa/Monrovia", "Europe", "../etc", "Factory"),
    *("none", "pipeline", "tag:stage-", "tag:s", "a.b", "class.def", "1.a", "integer", "array"),
    *([], [1, 2], [3, 4], [None], [[]], ["a"], ["a", "a"], ["x" * 101], ["self"], ["s3://b/k"]),
    *(["x:y"], ["//["], ["\u2003"], {}, {"a": 1}, {1: 2}, {"a": float("nan")}, {"a": b"x"}),
    *("all_done", "always", "executor", "500m", ["1", "2"], ["2", "1"], "1Gi", ["1Mi", "2Gi"]),
    *({"a": "/b"}, [{"key": "gpu"}], [{"key": 5}], "a/b:1"),
]


def accepts(kind, value):
    try:
        read("", kind, value)
    except ValueError:
        return False
    return True


KINDS = {row[0] for name in ("dag", "graph", "task", "param") for row in TABLES[name].values()}
ACCEPTED = {kind: [value for value in VALUES if accepts(kind, value)] for kind in sorted(KINDS)}
ANYTHING = st.sampled_from(VALUES) | st.text(max_size=9)


WHEN = ["schedule", "start_date", "end_date", "timezone", "catchup", "max_active_runs"]


def rows(*names):
    return {key: row[0] for name in names for key, row in TABLES[name].items()}


@st.composite
def chosen(draw, table, most):
    """Some settings of a table, with values that are accepted, for one in twenty perhaps not."""
    keys = draw(st.lists(st.sampled_from(sorted(table)), unique=True, max_size=most))
    return {
        key: draw(
            ANYTHING if draw(st.integers(1, 20)) == 20 else st.sampled_from(ACCEPTED[table[key]])
        )
        for key in keys
    }


@st.composite
def sections(draw):
    """The settings of a DAG, of some of its tasks, and the fields of its form."""
    found = draw(chosen(rows("graph", "task"), 3)) | draw(chosen(rows("dag"), 3))
    found |= draw(chosen({key: rows("dag")[key] for key in WHEN}, 6))
    selectors = st.sampled_from(["clean", "train", "pipeline:data", "tag:slow", "tag:stage-2"])
    names = st.sampled_from(["size", "model", "model.share", "model.tags", "empty", "a.b", "nan"])
    tasks = draw(st.dictionaries(selectors, st.none() | chosen(rows("task"), 2), max_size=1))
    form = draw(st.dictionaries(names, st.none() | chosen(rows("param"), 3), max_size=1))
    return found | ({"tasks": tasks} if tasks else {}) | ({"params": form} if form else {})


PIECES = [b"\0", b"\xff", b"${x}", b"${oc.env:HOME}", b"${", b"&a ", b"*a", b"!!set ", b"!!int "]
PIECES += [b"? ", b"- ", b": ", b"#", b"\t", b"---\n", b"<<: ", b"5: "]


@st.composite
def files(draw):
    """An airflow.yml, one in ten with a piece in the middle that does not belong there."""
    whole = {"default": draw(sections())}
    if draw(st.integers(1, 10)) == 10:
        name = draw(st.sampled_from(["science", "__default__", "sciense", 5, None]))
        whole[name] = draw(ANYTHING)
    content = yaml.dump(whole, allow_unicode=draw(st.booleans())).encode("utf-8", "surrogatepass")
    if draw(st.integers(1, 10)) == 10:
        middle = draw(st.integers(0, len(content)))
        content = content[:middle] + draw(st.sampled_from(PIECES)) + content[middle:]
    return content


def is_refused_in_one_sentence_or_scheduled(write, content):
    try:
        text = write(content)
    except click.ClickException as error:
        assert re.fullmatch(f"{FILE}.+", error.format_message())
    else:
        schedule(text)


@settings(max_examples=60)
@given(files())
def test_any_file_is_refused_in_one_sentence_or_airflow_schedules_its_dag(write, content):
    is_refused_in_one_sentence_or_scheduled(write, content)


@pytest.mark.slow
@settings(max_examples=250)
@given(files())
def test_many_files_are_refused_in_one_sentence_or_airflow_schedules_their_dags(write, content):
    is_refused_in_one_sentence_or_scheduled(write, content)


CRON = (
    "is not a cron expression of five fields that fires, an interval like 12h, or one of @once, "
    "@continuous, @hourly, @daily, @weekly, @monthly, @quarterly, @yearly, or null"
)
DURATION = "is not a number of minutes from 0.02 to 1000000, or a string like 90s, 15m, 2h or 1d12h"
DATE = "is not a date like 2024-01-31 or [2024, 1, 31], from 1970 to 2999, or null"
COUNT = "is not a whole number from 0 to 1000000"
NAME = "is not a string of at most 256 characters"
TAGS = "is not a list of strings of at most 100 characters, like [kedro]"
ASSETS = (
    "is not a list of names of assets, like [my_project.model], or of URIs like s3://bucket/key"
)
INTERPOLATED = "write the value itself, or ${globals:KEY} for a key of globals.yml"
NAMES = [*rows("dag", "graph", "task"), "tasks", "params"]
SECTIONS = "expected names of sections and settings as keys, like `default: {retries: 2}`"
IN_PARAMETERS = "its value in parameters.yml, is not accepted here"


@pytest.mark.parametrize(
    "given, problem",
    [
        ("schedule: 61 6 * * *", f"schedule: '61 6 * * *' {CRON}"),
        ("schedule: 0 6 30 2 *", f"schedule: '0 6 30 2 *' {CRON}"),
        ("schedule: R R * * *", f"schedule: 'R R * * *' {CRON}"),
        ("schedule: 0d", f"schedule: '0d' {CRON}"),
        ("schedule: 999999d", f"schedule: '999999d' {CRON}"),
        ("dagrun_timeout: 0", f"dagrun_timeout: 0 {DURATION}, or null"),
        ("execution_timeout: 0s", f"execution_timeout: '0s' {DURATION}, or null"),
        ("execution_timeout: 1.0e+300", f"execution_timeout: 1e+300 {DURATION}, or null"),
        ("max_retry_delay: .inf", f"max_retry_delay: inf {DURATION}, or null"),
        ("startup_timeout: .nan", f"startup_timeout: nan {DURATION}"),
        ("retry_delay: -1", f"retry_delay: -1 {DURATION.replace('0.02', '0')}"),
        ("start_date: 0001-01-01", f"start_date: '0001-01-01' {DATE}"),
        ("end_date: [9999, 12, 31]", f"end_date: [9999, 12, 31] {DATE}"),
        ("max_active_runs: 0", f"max_active_runs: 0 {COUNT.replace('0', '1', 1)}"),
        ("retries: 2147483648", f"retries: 2147483648 {COUNT}"),
        ("priority_weight: 2147483648", f"priority_weight: 2147483648 {COUNT}"),
        ("gpu: 1000001", f"gpu: 1000001 {COUNT}"),
        (
            "timezone: Europe",
            "timezone: 'Europe' is not the name of a time zone, like Europe/Berlin",
        ),
        *(
            (f"{key}: {'x' * 257}", f"{key}: '{'x' * 257}' {NAME}")
            for key in ("owner", "pool", "queue")
        ),
        ('owner: "\\0"', f"owner: '\\x00' {NAME}"),
        ('owner: "\\ud800"', f"owner: '\\ud800' {NAME}"),
        (f"tags: [{'x' * 101}]", f"tags: ['{'x' * 101}'] {TAGS}"),
        ("assets: [self]", f"assets: ['self'] {ASSETS}"),
        ("assets: ['airflow://model']", f"assets: ['airflow://model'] {ASSETS}"),
        ("assets: ['  ']", f"assets: ['  '] {ASSETS}"),
        (f"assets: [{'x' * 1501}]", f"assets: ['{'x' * 1501}'] {ASSETS}"),
        ("executor_config: {1: 2}", "executor_config: {1: 2} is not a mapping, as in JSON"),
        ("executor_config: {a: .nan}", "executor_config: {'a': nan} is not a mapping, as in JSON"),
        ("tasks: [clean]", "tasks: ['clean'] is not a mapping"),
        ("params: {size: []}", "params: size: [] is not a mapping"),
        ("params: {size: {minimum: .inf}}", "params: size: minimum: inf is not a finite number"),
        (
            "params: {size: {type: [integer, 'null']}}",
            "params: size: type: ['integer', 'null'] is not one of boolean, integer, number, "
            "string, array, object",
        ),
        ("params: {size: {maximum: 2}}", f"params: size: 3, {IN_PARAMETERS}"),
        ("params: {model.tags: {minimum: 1}}", f"params: model.tags: ['x'], {IN_PARAMETERS}"),
        ("params: {empty: {maximum: 1}}", f"params: empty: None, {IN_PARAMETERS}"),
        ("params: {nan: null}", f"params: nan: nan, {IN_PARAMETERS}"),
    ],
)
def test_setting_that_airflow_would_refuse_is_refused_by_name(write, given, problem):
    assert refused(write, f"default:\n  {given}".encode()) == f"{FILE}default: {problem}"


@pytest.mark.parametrize(
    "content, problem",
    [
        (
            "default: {schedule: '@continuous', max_active_runs: 3}",
            "max_active_runs: 3 is not 1, which schedule: '@continuous' needs",
        ),
        (
            "default: {schedule: '@continuous'}",
            "max_active_runs: None is not 1, which schedule: '@continuous' needs",
        ),
        (
            "default: {start_date: 2024-01-31, end_date: '2024-01-30T16:00:00+00:00'}",
            "end_date: 2024-01-30T16:00:00+00:00 is before 2024-01-31T00:00:00, the start_date",
        ),
        (
            "default: {assets: [a], start_date: null}",
            "start_date: None is not a date, and a schedule needs one",
        ),
        ("default: [retries]", "default: ['retries'] is not a mapping"),
        ("default: 0", "default: 0 is not a mapping"),
        ("default: {5: 1}", f"default: 5: unknown name; expected one of {', '.join(NAMES)}"),
        ("sciense: {}", "sciense: unknown name; did you mean science?"),
        ("- default", f"found ['default']; {SECTIONS}"),
        ("5", f"Invalid loaded object type: int; {SECTIONS}"),
        ("5: {}", f"found 5; {SECTIONS}"),
        ("null: {}", f"Incompatible key type 'NoneType'; {SECTIONS}"),
        ("default: {null: 1}", f"default: Incompatible key type 'NoneType'; {SECTIONS}"),
        ("default:\n  owner: [\n", "line 3: expected the node content, but found '<stream end>'"),
        ("default:\n  retries: 1\n  retries: 2", "line 3: found duplicate key retries"),
        ("default:\n\tretries: 1", "line 2: found character '\\t' that cannot start any token"),
        ("default: {}\nscience: *a", "line 2: found undefined alias 'a'"),
        ("default: {}\n---\ndefault: {}", "line 2: found another document"),
        ("default: &a {tasks: *a}", "it is nested too deeply, or an anchor contains itself"),
        ("default: " + "[" * 1000, "it is nested too deeply, or an anchor contains itself"),
        ("default: {a: !!set {b}}", "default.a: Value 'set' is not a supported primitive type"),
        ("default: !!int x", "invalid literal for int() with base 10: 'x'"),
        (
            "default:\n  owner: ${oc.env:HOME}",
            f"default.owner: Unsupported interpolation type oc.env; {INTERPOLATED}",
        ),
        (
            "default:\n  owner: ${globals:nothing}",
            "default.owner: Globals key 'nothing' not found and no default value provided; "
            + INTERPOLATED,
        ),
        (
            "default:\n  owner: ${nothing}",
            f"default.owner: Interpolation key 'nothing' not found; {INTERPOLATED}",
        ),
        (
            "default:\n  owner: ${",
            f"default.owner: no viable alternative at input '${{'; {INTERPOLATED}",
        ),
        ("default: ${default}", f"default: Recursive interpolation detected; {INTERPOLATED}"),
        (b"default:\n  owner: caf\xe9", "line 2: b'\\xe9' is not UTF-8"),
        (b"default: \0", "unacceptable character #x0000: special characters are not allowed"),
    ],
)
def test_file_that_is_wrong_is_refused_with_the_place(write, content, problem):
    content = content if isinstance(content, bytes) else content.encode()
    assert refused(write, content) == FILE + problem


@pytest.mark.parametrize(
    "content",
    [
        "",
        "null",
        "# nothing",
        "default:",
        "default: {params: null, tasks: {clean: null}}",
        "_mine: &mine {retries: 1}\ndefault: *mine",
        "default: {env: {A: 1}}",
        "default: {pool: '${globals:storage}'}",
        "default: {schedule: '@continuous', max_active_runs: 1}",
        "default: {timezone: Asia/Tokyo, start_date: 2024-01-31, end_date: '2024-01-30 16:00Z'}",
    ],
)
def test_file_that_is_right_is_scheduled(write, content):
    schedule(write(content.encode()))


def test_wrong_value_on_the_command_line_is_named(write):
    message = refused(write, b"", params={"retries": "two"})
    assert message == f"--params: retries: 'two' {COUNT}"


@pytest.mark.parametrize("names", [{"name": "a/b"}, {"env": "a/b"}, {"name": "é" * 101}])
def test_name_that_no_dag_can_have_is_refused(write, names):
    [name] = names.values()
    assert refused(write, b"", **names) == (
        f"{name!r} cannot name a DAG: rename it, with at most 100 letters, digits, spaces, dots, "
        "dashes and underscores"
    )


def test_two_pipelines_whose_dags_would_have_one_id_are_refused(write, monkeypatch):
    monkeypatch.setitem(create.pipelines, "sci ence", PIPELINE)
    monkeypatch.setitem(create.pipelines, "sci_ence", PIPELINE)
    assert refused(write, b"", name="sci_ence") == (
        "The DAGs of the pipelines 'sci_ence' and 'sci ence' would have the same id: rename one of "
        "them"
    )


def test_kedro_airflow_loads_airflow_yml_with_the_function_that_is_replaced():
    command = inspect.unwrap(kedro_airflow.plugin.create.callback)
    assert "_load_config" in command.__code__.co_names


def test_template_of_another_kind_of_dag_gets_no_variables_of_pods():
    task = {"owner": "science", "env": {"A": "1"}}
    given = create.for_template(create.Settings(dag={"schedule": "@daily"}, task=task))
    assert given == {"schedule": "@daily", "owner": "science"}
