"""dags/kedro_dag.py turns any nodes and settings into a right DAG."""

import importlib.util
import re
from datetime import date, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.conftest import ROOT

SOURCE = ROOT / "layers" / "base" / "dags" / "kedro_dag.py"
SETTINGS = {
    "schedule": None,
    "start_date": "2024-01-01",
    "catchup": False,
    "max_active_runs": 3,
    "tags": ["kedro"],
    "owner": "R&D",
    "retries": 2,
    "retry_delay": 1,
    "execution_timeout": 60,
    "dagrun_timeout": None,
    "group_by": "none",
}


@pytest.fixture(scope="module")
def kedro_dag():
    spec = importlib.util.spec_from_file_location("kedro_dag", SOURCE)
    module = importlib.util.module_from_spec(spec)
    import sys

    sys.modules["kedro_dag"] = module
    spec.loader.exec_module(module)
    return module


def create(kedro_dag, nodes=(), pipeline_name="__default__", **settings):
    return kedro_dag.create_dag(
        dag_file=str(ROOT / "dags" / "x.py"),
        package_name="space_flights",
        pipeline_name=pipeline_name,
        env="airflow",
        settings=SETTINGS | settings,
        nodes=[kedro_dag.Node(*node) for node in nodes],
    )


@st.composite
def pipelines(draw):
    """Nodes of a random acyclic pipeline, each in one of three folders or in none."""
    nodes = []
    clashing = st.sampled_from(["a", "b", "a-b", "a b", "a-b-c", "node 1", "node/1", "é"])
    names = draw(st.lists(clashing | st.text(min_size=1), unique=True, min_size=1, max_size=12))
    for number, name in enumerate(names):
        made = [name for _, _, outputs, *_ in nodes for name in outputs]
        inputs = draw(st.lists(st.sampled_from([*made, "raw"]), unique=True, max_size=3))
        outputs = [f"data_{number}_{part}" for part in range(draw(st.integers(0, 2)))]
        folder = draw(st.sampled_from([None, "a", "b", "c"]))
        nodes.append((name, inputs, outputs, (), None, folder))
    return nodes


@given(nodes=pipelines(), group_by=st.sampled_from(["none", "pipeline"]))
def test_tasks_run_each_node_once_and_after_what_it_needs(kedro_dag, nodes, group_by):
    dag = create(kedro_dag, nodes, group_by=group_by)
    order = [task.task_id for task in dag.topological_sort()]
    task_of = {node.name: task.task_id for task in dag.tasks for node in task.nodes}
    ran = [node.name for task in dag.tasks for node in task.nodes]
    assert sorted(ran) == sorted(name for name, *_ in nodes)
    writer = {output: name for name, _, outputs, *_ in nodes for output in outputs}
    for name, inputs, *_ in nodes:
        for dataset in inputs:
            if dataset in writer and task_of[writer[dataset]] != task_of[name]:
                upstream = dag.task_dict[task_of[writer[dataset]]]
                assert task_of[name] in upstream.downstream_task_ids
                assert order.index(upstream.task_id) < order.index(task_of[name])


def test_pipelines_in_a_cycle_become_one_task(kedro_dag):
    nodes = [
        ("first", ["raw"], ["one"], (), None, "a"),
        ("second", ["one"], ["two"], (), None, "b"),
        ("third", ["two"], ["three"], (), None, "a"),
        ("fourth", ["three"], [], (), None, "c"),
    ]
    dag = create(kedro_dag, nodes, group_by="pipeline")
    assert {task.task_id: [node.name for node in task.nodes] for task in dag.tasks} == {
        "a-b": ["first", "second", "third"],
        "c": ["fourth"],
    }


def test_transcoded_datasets_connect_tasks(kedro_dag):
    nodes = [("write", [], ["table@pandas"]), ("read", ["table@spark"], [])]
    assert create(kedro_dag, nodes).get_task("write").downstream_task_ids == {"read"}


@given(st.lists(st.text(min_size=1, max_size=300), unique=True, max_size=8))
def test_any_names_give_different_valid_ids(kedro_dag, names):
    ids = kedro_dag.unique_ids(names)
    assert len(set(ids)) == len(names)
    assert all(re.fullmatch(r"[\w.-]{1,250}", found) for found in ids)


@pytest.mark.parametrize("name", ["1_load", "import", "task", "Data.Clean", "données", "x" * 300])
def test_any_node_name_makes_a_task(kedro_dag, name):
    [task] = create(kedro_dag, [(name, ["a"], ["b"])]).tasks
    assert [node.name for node in task.nodes] == [name]


@pytest.mark.parametrize(
    "value",
    ["2024-01-31", "2024-01-31T00:00:00", "2024-01-31T00:00:00+00:00", [2024, 1, 31],
     date(2024, 1, 31), datetime(2024, 1, 31)],
    ids=str,
)  # fmt: skip
def test_start_date_is_a_date_a_string_or_a_list(kedro_dag, value):
    assert create(kedro_dag, start_date=value).start_date == datetime(
        2024, 1, 31, tzinfo=timezone.utc
    )


def test_settings_reach_the_dag(kedro_dag):
    dag = create(
        kedro_dag, [("node", [], ["a"])], schedule="@daily", dagrun_timeout=90, catchup=True
    )
    assert dag.schedule == "@daily" and dag.catchup and dag.max_active_runs == 3
    assert dag.tags == {"kedro"} and dag.dagrun_timeout == timedelta(minutes=90)
    [task] = dag.tasks
    assert (task.owner, task.retries) == ("R&D", 2)
    assert task.retry_delay == timedelta(minutes=1)
    assert task.execution_timeout == timedelta(hours=1)


def test_each_pipeline_has_a_dag_id_of_its_own(kedro_dag):
    assert create(kedro_dag).dag_id == "space_flights"
    assert create(kedro_dag, pipeline_name="reporting").dag_id == "space_flights-reporting"


@pytest.mark.parametrize(
    "key, value",
    [
        ("start_date", "yesterday"),
        ("start_date", [2024, 13, 1]),
        ("start_date", 2024),
        ("retry_delay", "5m"),
        ("retry_delay", True),
        ("execution_timeout", -1),
        ("dagrun_timeout", "long"),
        ("group_by", "colour"),
        ("schedule", 5),
        ("catchup", "no"),
        ("max_active_runs", 0),
        ("tags", "kedro"),
        ("owner", None),
        ("retries", "two"),
    ],
)
def test_refused_setting_is_named_with_its_value(kedro_dag, key, value):
    with pytest.raises(ValueError, match=f"airflow.yml: {key}: {re.escape(repr(value))} is not"):
        create(kedro_dag, **{key: value})


@given(
    st.lists(
        st.tuples(
            st.text(st.sampled_from("abc:+-_019"), min_size=1, max_size=10),
            st.datetimes(datetime(2000, 1, 1), timezones=st.just(timezone.utc)),
        ),
        unique_by=lambda run: run[0],
        min_size=2,
    )
)
def test_versions_are_unique_and_sorted_by_time(kedro_dag, runs):
    versions = {kedro_dag.run_version(*run): run[1] for run in runs}
    assert len(versions) == len(runs)
    times = [versions[version] for version in sorted(versions)]
    assert times == sorted(times)
    assert not any(sign in version for version in versions for sign in "/\\:")
