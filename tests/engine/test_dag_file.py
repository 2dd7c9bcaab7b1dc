"""The text of a DAG file contains the data that Airflow's side takes."""

import ast
from datetime import timedelta

import pytest
from click import ClickException
from flights.airflow_dag.dag_file import dag_file
from flights.airflow_dag.settings import Settings
from flights_airflow import model
from hypothesis import given
from kedro.pipeline import Node, Pipeline

from tests.engine.test_graph import GROUPINGS, function, node, pipelines


def write(
    nodes,
    settings=None,
    name="__default__",
    env="airflow",
    conf_source="",
    groups=(),
    shared=(),
    leaves=None,
):
    about = (name, Pipeline(nodes), groups, "flights", env, conf_source)
    return dag_file(settings or Settings(), set(shared), leaves or {}, bool(groups), *about)


def read(text):
    """The arguments with which the file calls create_dag."""
    given = {}

    def create_dag(dag_id, **arguments):
        given.update(arguments, dag_id=dag_id)

    code = ast.parse(text)
    code.body = [part for part in code.body if isinstance(part, ast.Assign)]
    names = {"create_dag": create_dag, "Node": model.Node, "Task": model.Task}
    exec(compile(code, "dag file", "exec"), names | {"datetime": __import__("datetime")})
    return given


def documented(*datasets):
    """Clean `it`.

    "Twice".
    """


def test_file_without_nodes_says_what_to_do():
    text = write([])
    assert "\n# No nodes yet: add a pipeline, and run `make dag`.\ndag = create_dag(" in text
    assert read(text)["tasks"] == [] and "No nodes" not in write([node("a", [], ["b"])])


def test_file_contains_the_settings_and_the_graph():
    nodes = [
        Node(documented, "raw", "table", name="clean", tags=["slow"]),
        node("train", ["table", "params:size"], ["model"], folder="science"),
    ]
    settings = Settings(
        dag={"schedule": "@daily", "tags": ["a"]},
        task={"owner": "R&D", "retry_delay": timedelta(minutes=1)},
        tasks={"tag:slow": {"pool": "io"}},
        form={"size": {"default": 0.2}},
    )
    leaves = {"<storage>/models": ["model"]}
    assert read(write(nodes, settings, leaves=leaves)) == {
        "dag_id": "flights",
        "package": "flights",
        "pipeline": "__default__",
        "env": "airflow",
        "leaves": leaves,
        "schedule": "@daily",
        "tags": ["a"],
        "default_args": {"owner": "R&D", "retry_delay": timedelta(minutes=1)},
        "params": {"size": {"default": 0.2}},
        "tasks": [
            model.Task(
                "clean",
                [model.Node("clean", ["raw"], ["table"], doc='Clean `it`.\n\n"Twice".')],
                settings={"pool": "io"},
            ),
            model.Task(
                "train",
                [model.Node("train", ["table", "params:size"], ["model"], "science")],
                after=["clean"],
            ),
        ],
    }


@given(nodes=pipelines())
@pytest.mark.parametrize("group_by", GROUPINGS)
def test_nodes_are_written_as_they_are(nodes, group_by):
    tasks = read(write(nodes, Settings(graph={"group_by": group_by})))["tasks"]
    found = {each.name: each for task in tasks for each in task.nodes}
    assert {name: (list(each.inputs), list(each.outputs)) for name, each in found.items()} == {
        each.name: (each.inputs, each.outputs) for each in nodes
    }


@pytest.mark.parametrize(
    "name, env, dag_id",
    [
        ("__default__", "airflow", "flights"),
        ("reporting", "airflow", "flights-reporting"),
        ("__default__", "staging", "flights-staging"),
    ],
)
def test_each_pipeline_and_environment_has_its_own_dag_id(name, env, dag_id):
    given = read(write([node("one", ["a"])], name=name, env=env))
    assert (given["dag_id"], given["pipeline"], given["env"]) == (dag_id, name, env)


def test_intermediate_data_that_is_not_kept_is_removed_by_a_separate_task():
    nodes = [node("one", ["raw"], ["a"]), node("two", ["a"], ["b"])]
    tasks = read(write(nodes, Settings(graph={"keep_intermediate": False})))["tasks"]
    assert tasks[-1] == model.Task("remove_intermediate", [], after=["two"])
    assert read(write([], Settings(graph={"keep_intermediate": False})))["tasks"] == []


def test_conf_source_is_in_the_file_only_if_it_was_given():
    assert not {"conf_source", "leaves"} & read(write([node("one", ["a"])])).keys()
    assert read(write([node("one", ["a"])], conf_source="conf.zip"))["conf_source"] == "conf.zip"


def test_function_without_a_docstring_has_none_in_the_file():
    made = function("flights.pipelines.a.nodes")
    made.__doc__ = None
    [task] = read(write([Node(made, "a", None, name="one")]))["tasks"]
    assert task.nodes[0].doc is None


def test_runs_that_would_read_each_others_data_follow_one_another(capsys):
    nodes = [
        node("one", ["raw"], ["table@pandas"], folder="a"),
        node("two", ["table@spark"], ["out"], folder="a"),
    ]
    settings = Settings(dag={"max_active_runs": 3})
    shared = ["raw", "table@pandas", "table@spark", "out"]
    text = write(nodes, settings, shared=shared)
    said = "One run at a time, because all runs store these in one place: table@spark\n"
    assert read(text)["max_active_runs"] == 1
    assert f"\n# {said}dag = create_dag(" in text
    assert capsys.readouterr().err == f"flights: {said}"
    in_one_task = Settings(dag={"max_active_runs": 3}, graph={"group_by": "pipeline"})
    for kept in (write(nodes, settings), write(nodes, in_one_task, shared=shared)):
        assert read(kept)["max_active_runs"] == 3


def test_node_confirms_only_what_its_task_has_loaded():
    load = Node(function("flights.pipelines.a.nodes"), "new", "table", name="load")
    confirm = Node(
        function("flights.pipelines.a.nodes"), "table", None, name="last", confirms="new"
    )
    with pytest.raises(ClickException) as refused:
        write([load, confirm])
    assert refused.value.message == (
        "last confirms new, which another task loads: it would also confirm what came in between. "
        "Put both nodes into one task: see group_by."
    )
    assert len(read(write([load, confirm], Settings(graph={"group_by": "pipeline"})))["tasks"]) == 1
