"""The nodes of any pipeline become tasks that Airflow can run."""

import re
from graphlib import TopologicalSorter
from types import FunctionType

import pytest
from flights.airflow_dag.graph import folder, removal, selectors, tasks_of, unique_ids
from hypothesis import given
from hypothesis import strategies as st
from kedro.pipeline import Node, Pipeline

GROUPINGS = ["none", "pipeline", "namespace", "tag:stage-"]


def function(module):
    """A function of a module that exists only by name."""
    made = FunctionType((lambda *datasets: None).__code__, {})
    made.__module__ = module
    return made


def node(name, inputs=(), outputs=(), tags=(), namespace=None, folder=None):
    """A node whose function is in a folder of pipelines/, or elsewhere."""
    module = f"flights.pipelines.{folder}.nodes" if folder else "library.functions"
    given = {"name": name, "tags": list(tags), "namespace": namespace}
    return Node(function(module), list(inputs) or None, list(outputs) or None, **given)


def group(nodes, group_by="none", settings=None):
    return tasks_of(Pipeline(nodes), "flights", group_by, settings or {})


def names_of(tasks):
    return {task.id: [node.name for node in task.nodes] for task in tasks}


@st.composite
def pipelines(draw):
    """Nodes of a random acyclic pipeline, each in one of three folders or in none."""
    nodes, made = [], []
    clashing = st.sampled_from(["a", "b", "a-b", "a_b", "a-b-c", "node-1", "node_1", "1"])
    given_names = draw(st.lists(clashing, unique=True, min_size=1, max_size=8))
    for number, name in enumerate(given_names):
        inputs = draw(st.lists(st.sampled_from([*made, "raw"]), unique=True, max_size=3))
        outputs = [f"data_{number}_{part}" for part in range(draw(st.integers(0, 2)))]
        nodes.append(
            node(
                name,
                inputs or ["raw"],
                outputs,
                draw(st.lists(st.sampled_from(["stage-1", "stage-2", "slow"]), unique=True)),
                draw(st.sampled_from([None, "a", "a.b", "b"])),
                draw(st.sampled_from([None, "a", "b", "c"])),
            )
        )
        made += outputs
    return nodes


@given(nodes=pipelines(), group_by=st.sampled_from(GROUPINGS))
def test_tasks_run_each_node_once_and_after_what_it_needs(nodes, group_by):
    tasks = group(nodes, group_by)
    TopologicalSorter({task.id: task.after for task in tasks}).prepare()
    task_of = {node.name: task for task in tasks for node in task.nodes}
    ran = [node.name for task in tasks for node in task.nodes]
    assert sorted(ran) == sorted(each.name for each in nodes)
    writer = {output: each.name for each in nodes for output in each.outputs}
    for each in nodes:
        for dataset in set(each.inputs) & writer.keys():
            before = task_of[writer[dataset]]
            assert before is task_of[each.name] or before.id in task_of[each.name].after


@given(nodes=pipelines(), group_by=st.sampled_from(GROUPINGS))
def test_task_groups_do_not_need_each_other(nodes, group_by):
    tasks = group(nodes, group_by)
    box = {task.id: task.group or task.id for task in tasks}
    graph = {}
    for task in tasks:
        graph.setdefault(box[task.id], set()).update(box[id] for id in task.after)
    TopologicalSorter({name: needed - {name} for name, needed in graph.items()}).prepare()
    assert not {task.group for task in tasks} & box.keys()


def test_pipelines_in_a_cycle_become_one_task():
    nodes = [
        node("first", ["raw"], ["one"], folder="a"),
        node("second", ["one"], ["two"], folder="b"),
        node("third", ["two"], ["three"], folder="a"),
        node("fourth", ["three"], folder="c"),
    ]
    assert names_of(group(nodes, "pipeline")) == {
        "a-b": ["first", "second", "third"],
        "c": ["fourth"],
    }


@pytest.mark.parametrize(
    "group_by, expected",
    [
        ("none", {"load": ["load"], "clean": ["clean"], "train": ["train"]}),
        ("pipeline", {"data": ["load", "clean"], "train": ["train"]}),
        ("namespace", {"load": ["load"], "eu": ["clean", "train"]}),
        ("tag:stage-", {"stage-1": ["load"], "clean": ["clean"], "stage-2": ["train"]}),
        (
            {"load": "x", "eu.west.clean": "x", "eu.train": "y"},
            {"x": ["load", "clean"], "y": ["train"]},
        ),
    ],
    ids=str,
)
def test_nodes_are_grouped(group_by, expected):
    nodes = [
        node("load", ["raw"], ["one"], ["stage-1", "slow"], None, "data"),
        node("clean", ["one"], ["two"], ["slow"], "eu.west", "data"),
        node("train", ["two"], ["three"], ["stage-2"], "eu"),
    ]
    found = names_of(group(nodes, group_by))
    short = {"eu.west.clean": "clean", "eu.train": "train"}
    assert {
        short.get(id, id): [short.get(name, name) for name in names] for id, names in found.items()
    } == expected


def test_task_groups_follow_namespaces_and_pipelines_and_keep_task_ids():
    nodes = [
        node("one", ["raw"], ["a"], folder="first"),
        node("two", ["a"], ["b"], folder="first"),
        node("three", ["b"], ["c"], namespace="eu.west", folder="first"),
        node("four", ["c"], ["d"], namespace="eu", folder="second"),
        node("eu", ["d"], folder="third"),
    ]
    groups = {task.id: task.group for task in group(nodes)}
    expected = {"one": "first", "two": "first", "eu.west.three": "eu_2", "eu.four": "eu_2"}
    assert groups == expected | {"eu": None}


def test_pipelines_that_need_each_other_are_not_task_groups():
    nodes = [
        node("one", ["raw"], ["a"], folder="first"),
        node("two", ["a"], ["b"], folder="second"),
        node("three", ["b"], ["c"], folder="first"),
        node("four", ["c"], ["d"], folder="second"),
    ]
    assert {task.group for task in group(nodes)} == {None}


def test_transcoded_datasets_connect_tasks():
    nodes = [node("write", [], ["table@pandas"]), node("read", ["table@spark"])]
    assert {task.id: task.after for task in group(nodes)} == {"write": [], "read": ["write"]}


def test_task_has_the_settings_of_every_selector_that_matches_one_of_its_nodes():
    nodes = [
        node("load", ["raw"], ["a"], ["slow"]),
        node("train", ["a"], ["b"], (), "eu.west", "science"),
    ]
    settings = {
        "load": {"pool": "io"},
        "tag:slow": {"retries": 5},
        "namespace:eu": {"queue": "eu", "retries": 1},
        "pipeline:science": {"retries": 7},
    }
    assert {task.id: task.settings for task in group(nodes, settings=settings)} == {
        "load": {"pool": "io", "retries": 5},
        "eu.west.train": {"queue": "eu", "retries": 7},
    }


@pytest.mark.parametrize(
    "module, expected",
    [
        ("flights.pipelines.science.nodes", "science"),
        ("flights.pipelines.science", "science"),
        ("flights.pipelines", None),
        ("sklearn.utils.extmath", None),
        ("other.pipelines.science.nodes", None),
    ],
)
def test_pipeline_of_a_node_is_the_projects_folder_with_its_function(module, expected):
    each = Node(function(module), None, "a", name="node")
    assert folder(each, "flights") == expected
    of_pipelines = {name for name in selectors(each, "flights") if name.startswith("pipeline:")}
    assert of_pipelines == ({f"pipeline:{expected}"} if expected else set())


def test_intermediate_data_is_removed_after_the_last_tasks():
    nodes = [node("one", [], ["a"]), node("remove_intermediate", ["a"]), node("three", ["a"])]
    tasks = group(nodes)
    task = removal(tasks)
    assert (task.id, task.nodes) == ("remove_intermediate_2", [])
    assert task.after == ["remove_intermediate", "three"]
    tasks[0].group = "remove_intermediate_2"
    assert removal(tasks).id == "remove_intermediate_3"


@given(st.lists(st.text(min_size=1, max_size=300), unique=True, max_size=8))
def test_any_names_become_distinct_valid_ids(names):
    ids = unique_ids(names)
    assert len(set(ids)) == len(names)
    assert all(re.fullmatch(r"[\w.-]{1,250}", found) for found in ids)


@pytest.mark.parametrize("name", ["1_load", "import", "task", "Data.Clean", "x" * 300])
def test_any_node_name_becomes_a_task(name):
    [task] = group([node(name, ["a"], ["b"])])
    assert [each.name for each in task.nodes] == [name]
