"""dags/kedro_dag.py turns any nodes and settings into a right DAG."""

import importlib.util
import logging.config
import pickle
import re
import sys
from datetime import datetime, timedelta, timezone
from graphlib import TopologicalSorter
from pathlib import PurePosixPath
from types import SimpleNamespace
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kedro.io import DataCatalog, DatasetError, Version
from kedro.pipeline import Node, Pipeline
from kedro_datasets.matplotlib import MatplotlibDataset
from kedro_datasets.pickle import PickleDataset
from kedro_datasets.text import TextDataset
from matplotlib.figure import Figure

from tests.conftest import ROOT

SOURCE = ROOT / "layers" / "base" / "dags" / "kedro_dag.py"
DAG_SETTINGS = {"schedule": None, "start_date": "2024-01-01T00:00:00", "tags": ["kedro"]}
TASK_SETTINGS = {"owner": "R&D", "retries": 2}


@pytest.fixture(scope="module")
def kedro_dag():
    spec = importlib.util.spec_from_file_location("kedro_dag", SOURCE)
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def kedro_run(kedro_dag):
    return kedro_dag.load_sibling("kedro_run")


def create(
    kedro_dag,
    nodes=(),
    tasks=None,
    form=None,
    pipeline_name="__default__",
    env="airflow",
    **settings,
):
    return kedro_dag.create_dag(
        dag_file=str(ROOT / "dags" / "x.py"),
        package_name="space_flights",
        pipeline_name=pipeline_name,
        env=env,
        dag_settings=DAG_SETTINGS | settings,
        task_settings=TASK_SETTINGS,
        tasks=tasks or {},
        form=form or {},
        nodes=[
            node if isinstance(node, kedro_dag.Node) else kedro_dag.Node(*node) for node in nodes
        ],
    )


def tasks_of(dag):
    return {task.task_id: [node.name for node in task.nodes] for task in dag.tasks}


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
        tags = draw(st.lists(st.sampled_from(["stage-1", "stage-2", "slow"]), unique=True))
        namespace = draw(st.sampled_from([None, "a", "a.b", "b"]))
        group = draw(st.sampled_from([None, None, "a", "memory"]))
        nodes.append((name, inputs, outputs, tags, namespace, folder, group))
    return nodes


GROUPINGS = ["none", "pipeline", "namespace", "tag:stage-"]


@given(nodes=pipelines(), group_by=st.sampled_from(GROUPINGS))
def test_tasks_run_each_node_once_and_after_what_it_needs(kedro_dag, nodes, group_by):
    dag = create(kedro_dag, nodes, group_by=group_by)
    TopologicalSorter({task.task_id: task.upstream_task_ids for task in dag.tasks}).prepare()
    task_of = {node.name: task.task_id for task in dag.tasks for node in task.nodes}
    ran = [node.name for task in dag.tasks for node in task.nodes]
    assert sorted(ran) == sorted(name for name, *_ in nodes)
    writer = {output: name for name, _, outputs, *_ in nodes for output in outputs}
    for name, inputs, *_ in nodes:
        for dataset in inputs:
            if dataset in writer and task_of[writer[dataset]] != task_of[name]:
                upstream = dag.task_dict[task_of[writer[dataset]]]
                assert task_of[name] in upstream.downstream_task_ids


def test_pipelines_in_a_cycle_become_one_task(kedro_dag):
    nodes = [
        ("first", ["raw"], ["one"], (), None, "a"),
        ("second", ["one"], ["two"], (), None, "b"),
        ("third", ["two"], ["three"], (), None, "a"),
        ("fourth", ["three"], [], (), None, "c"),
    ]
    assert tasks_of(create(kedro_dag, nodes, group_by="pipeline")) == {
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
    ],
)
def test_nodes_are_grouped(kedro_dag, group_by, expected):
    nodes = [
        ("load", ["raw"], ["one"], ["stage-1", "slow"], None, "data"),
        ("clean", ["one"], ["two"], ["slow"], "eu.west", "data"),
        ("train", ["two"], ["three"], ["stage-2"], "eu", None),
    ]
    assert tasks_of(create(kedro_dag, nodes, group_by=group_by)) == expected


def test_task_groups_follow_namespaces_and_pipelines_and_keep_task_ids(kedro_dag):
    nodes = [
        ("one", ["raw"], ["a"], (), None, "first"),
        ("two", ["a"], ["b"], (), None, "first"),
        ("three", ["b"], ["c"], (), "eu.west", "first"),
        ("eu", ["c"], ["d"], (), "eu", "second"),
        ("alone", ["d"], [], (), None, "third"),
    ]
    dag = create(kedro_dag, nodes)
    groups = {task.task_id: task.task_group.group_id for task in dag.tasks}
    assert groups == {"one": "first", "two": "first", "three": "eu_2", "eu": "eu_2", "alone": None}
    assert len(list(dag.task_group.topological_sort())) == 3


def test_pipelines_that_need_each_other_are_no_task_groups(kedro_dag):
    nodes = [
        ("one", ["raw"], ["a"], (), None, "first"),
        ("two", ["a"], ["b"], (), None, "second"),
        ("three", ["b"], ["c"], (), None, "first"),
        ("four", ["c"], ["d"], (), None, "second"),
    ]
    dag = create(kedro_dag, nodes)
    assert {task.task_group.group_id for task in dag.tasks} == {None}
    assert len(list(dag.task_group.topological_sort())) == 4


def test_documentation_shows_docstrings_inputs_and_outputs(kedro_dag):
    node = kedro_dag.Node("clean", ["raw"], ["table"], doc="Clean it.\n\nTwice.")
    dag = create(kedro_dag, [node])
    assert dag.get_task("clean").doc_md == (
        "### clean\n\nClean it.\n\nTwice.\n\n- inputs: `raw`\n- outputs: `table`"
    )
    assert "- reads: `raw`\n- leaves: `table`" in dag.doc_md


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


def test_settings_reach_the_dag_and_its_tasks(kedro_dag):
    dag = create(
        kedro_dag,
        [("load", [], ["a"], ["slow"]), ("train", ["a"], ["b"], (), "eu.west", "science")],
        tasks={
            "load": {"pool": "io"},
            "tag:slow": {"retries": 5},
            "namespace:eu": {"queue": "eu"},
            "pipeline:science": {"priority_weight": 7, "trigger_rule": "all_done"},
        },
        schedule="@daily",
        start_date="2024-01-31T06:00:00",
        timezone="Europe/Berlin",
        catchup=True,
        dagrun_timeout=timedelta(hours=2),
        description="Nightly",
    )
    assert dag.schedule == "@daily" and dag.catchup and dag.description == "Nightly"
    assert dag.tags == {"kedro"} and dag.dagrun_timeout == timedelta(hours=2)
    assert dag.start_date == datetime(2024, 1, 31, 5, tzinfo=timezone.utc)
    assert dag.timezone.name == "Europe/Berlin"
    load, train = dag.get_task("load"), dag.get_task("train")
    assert (load.owner, load.pool, load.retries, load.queue) == ("R&D", "io", 5, "default")
    assert (train.retries, train.queue, train.priority_weight) == (2, "eu", 7)
    assert train.trigger_rule == "all_done"


def test_dag_is_scheduled_on_assets(kedro_dag):
    dag = create(kedro_dag, assets=["spaceflights.regressor", "other"])
    assert [asset.name for asset in dag.schedule] == ["spaceflights.regressor", "other"]


def test_datasets_are_assets_with_stable_names(kedro_dag):
    nodes = [
        ("clean", ["raw", "params:size", "parameters"], ["table@pandas"]),
        ("train", ["table@spark", "données"], ["model"]),
    ]
    dag = create(kedro_dag, nodes)
    assets = {
        task.task_id: [[asset.uri for asset in side] for side in (task.inlets, task.outlets)]
        for task in dag.tasks
    }
    assert assets == {
        "clean": [["space_flights.raw"], ["space_flights.table"]],
        "train": [["space_flights.donn%C3%A9es"], ["space_flights.model"]],
    }
    assert [asset.name for asset in dag.get_task("train").outlets] == ["space_flights.model"]
    quiet = create(kedro_dag, nodes, outlets=False)
    assert [task.inlets + task.outlets for task in quiet.tasks] == [[], []]


def test_intermediate_data_is_removed_after_the_last_tasks_if_it_is_not_kept(kedro_dag):
    nodes = [("one", [], ["a"]), ("remove_intermediate", ["a"], []), ("three", ["a"], [])]
    assert len(create(kedro_dag, nodes).tasks) == 3
    dag = create(kedro_dag, nodes, keep_intermediate=False)
    [removal] = [task for task in dag.tasks if not task.nodes]
    assert removal.task_id == "remove_intermediate_2"
    assert removal.upstream_task_ids == {"remove_intermediate", "three"}


def test_fields_of_the_form_are_params_of_the_dag(kedro_dag):
    field = {"default": 0.2, "type": "number", "maximum": 0.5, "description": "Share"}
    form = {"model.size": field, "model.kind": {"default": "a", "choices": ["a", "b"]}}
    dag = create(kedro_dag, [("node", [], ["a"])], form=form)
    size, kind = dag.params.get_param("model.size"), dag.params.get_param("model.kind")
    assert (size.value, size.description) == (0.2, "Share")
    assert size.schema == {"type": "number", "maximum": 0.5}
    assert kind.schema == {"enum": ["a", "b"]}


def test_run_gives_its_form_and_its_times_to_kedros_parameters(kedro_dag):
    run = SimpleNamespace(run_id="manual__2024-01-31T06:00:00+00:00", logical_date=None)
    run.data_interval_start = datetime(2024, 1, 30, tzinfo=timezone.utc)
    params = {"model.options.size": 0.4, "model.options.seed": 3, "top": 1}
    assert kedro_dag.run_parameters({"dag_run": run, "params": params}, params) == {
        "model": {"options": {"size": 0.4, "seed": 3}},
        "top": 1,
        "airflow": {
            "run_id": "manual__2024-01-31T06:00:00+00:00",
            "folder": "manual__2024-01-31T06%3A00%3A00%2B00%3A00",
            "logical_date": None,
            "data_interval_start": "2024-01-30T00:00:00+00:00",
            "data_interval_end": None,
        },
    }


@given(st.text(st.sampled_from("ab01_.~:+-"), min_size=1, max_size=20))
def test_each_run_has_one_folder_of_its_own_whatever_its_id(kedro_dag, run_id):
    run = SimpleNamespace(run_id=run_id)
    folder = kedro_dag.run_parameters({"dag_run": run, "params": {}}, ())["airflow"]["folder"]
    assert PurePosixPath("runs", folder).parts == ("runs", folder)
    assert folder not in (".", "..") and unquote(folder) == run_id


def test_logging_yml_sets_levels_and_leaves_the_handlers(kedro_run, monkeypatch):
    monkeypatch.setattr(logging.config, "dictConfig", logging.config.dictConfig)
    before = list(logging.root.handlers)
    kedro_run._leave_handlers_to_airflow()
    logging.config.dictConfig({"version": 1, "root": {"handlers": ["console"]}})
    logging.config.dictConfig(
        {"version": 1, "loggers": {"kedro_run_test": {"level": "ERROR"}, "other": {}}}
    )
    assert logging.root.handlers == before
    assert logging.getLogger("kedro_run_test").level == logging.ERROR


def test_callback_is_imported_from_the_project_when_it_is_called(kedro_dag, tmp_path, monkeypatch):
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "alerts_of_a_test.py").write_text("def tell(context): return context['x']")
    monkeypatch.setattr(sys, "path", list(sys.path))
    callback = kedro_dag._callback("alerts_of_a_test.tell", tmp_path)
    assert "alerts_of_a_test" not in sys.modules
    assert callback({"x": 3}) == 3


def test_each_pipeline_and_environment_has_a_dag_id_of_its_own(kedro_dag):
    assert create(kedro_dag).dag_id == "space_flights"
    assert create(kedro_dag, pipeline_name="reporting").dag_id == "space_flights-reporting"
    assert create(kedro_dag, env="staging").dag_id == "space_flights-staging"


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


def save(kedro_run, data, dataset):
    node = Node(lambda: data, None, "data", name="node")
    runner = kedro_run._runner({"data"}, "2024", "run")
    runner.run(Pipeline([node]), DataCatalog({"data": dataset}))
    return sorted(dataset._fs.find(str(dataset._get_load_path())))


@pytest.mark.parametrize("root", ["{tmp_path}", "memory://{tmp_path}"])
@pytest.mark.parametrize("path, version", [("run/plots", None), ("plots", Version(None, None))])
def test_retry_saves_a_folder_of_files_anew(kedro_run, tmp_path, root, path, version):
    path = f"{root.format(tmp_path=tmp_path)}/{path}"
    for name in ("one.png", "other.png"):
        dataset = MatplotlibDataset(filepath=path, version=version)
        [saved] = save(kedro_run, {name: Figure()}, dataset)
        assert saved == str(dataset._get_load_path() / name)
        assert dataset._fs.find(str(dataset._filepath.parent)) == [saved]


class Half:
    """What fails in the middle of being pickled."""

    def __reduce__(self):
        raise ValueError("half")


@pytest.mark.parametrize(
    "path, version", [("run/model.pickle", None), ("model.pickle", Version(None, None))]
)
def test_failed_save_leaves_no_object_in_a_bucket_and_a_retry_saves_it(
    kedro_run, s3, monkeypatch, path, version
):
    for key, value in s3.environment.items():
        monkeypatch.setenv(key, value)
    if "models" not in [bucket["Name"] for bucket in s3.client.list_buckets()["Buckets"]]:
        s3.create_bucket("models")
    dataset = PickleDataset(filepath=f"s3://models/{path}", version=version)
    with pytest.raises(DatasetError, match="half"):
        save(kedro_run, [bytes(20_000_000), Half()], dataset)
    keys = [
        found["Key"] for found in s3.client.list_objects_v2(Bucket="models").get("Contents", [])
    ]
    assert not any(key.startswith(path) for key in keys)
    dataset = PickleDataset(filepath=f"s3://models/{path}", version=version)
    [saved] = save(kedro_run, "whole", dataset)
    assert pickle.loads(s3.client.get_object(Bucket="models", Key=saved[7:])["Body"].read()) == (
        "whole"
    )


def test_data_that_no_run_owns_is_saved_as_the_catalog_says(kedro_run, tmp_path):
    for _ in range(2):
        fs_args = {"open_args_save": {"mode": "a"}}
        save(kedro_run, "once ", TextDataset(filepath=f"{tmp_path}/log.txt", fs_args=fs_args))
    assert (tmp_path / "log.txt").read_text() == "once once "


def test_transcoded_dataset_is_read_in_the_version_of_the_run(kedro_run, tmp_path):
    for version in ("2024", "2025"):
        path = tmp_path / "table.txt" / version / "table.txt"
        path.parent.mkdir(parents=True)
        path.write_text(version)
    dataset = TextDataset(filepath=f"{tmp_path}/table.txt", version=Version(None, None))
    read = []
    node = Node(read.append, "table@read", None, name="node")
    runner = kedro_run._runner({"table@written"}, "2024", "run")
    runner.run(Pipeline([node]), DataCatalog({"table@read": dataset}))
    assert read == ["2024"]
