"""Airflow's side: tasks become a DAG, and a run passes its tasks what Kedro needs."""

import sys
from datetime import datetime, timedelta, timezone
from pathlib import PurePosixPath
from types import SimpleNamespace
from urllib.parse import unquote

import pytest
from flights_airflow import dag as engine
from flights_airflow.model import Node, Run, Task
from hypothesis import given
from hypothesis import strategies as st

SETTINGS = {"schedule": None, "start_date": "2024-01-01T00:00:00", "tags": ["kedro"]}


def create(*tasks, dag_id="flights", params=None, **settings):
    return engine.create_dag(
        dag_id,
        package="flights",
        pipeline="__default__",
        env="airflow",
        tasks=tasks,
        default_args={"owner": "R&D", "retries": 2},
        params=params or {},
        **SETTINGS | settings,
    )


def test_tasks_have_dependencies_groups_and_settings_of_their_own():
    dag = create(
        Task(
            "load", [Node("load", [], ["a"])], group="data", settings={"pool": "io", "retries": 5}
        ),
        Task("clean", [Node("clean", ["a"], ["b"])], after=["load"], group="data"),
        Task("train", [Node("train", ["b"])], after=["clean"]),
    )
    assert {task.task_id: task.upstream_task_ids for task in dag.tasks} == {
        "load": set(),
        "clean": {"load"},
        "train": {"clean"},
    }
    groups = {task.task_id: task.task_group.group_id for task in dag.tasks}
    assert groups == {"load": "data", "clean": "data", "train": None}
    load, clean = dag.get_task("load"), dag.get_task("clean")
    assert (load.owner, load.pool, load.retries) == ("R&D", "io", 5)
    assert (clean.owner, clean.pool, clean.retries) == ("R&D", "default_pool", 2)


def test_settings_reach_the_dag():
    dag = create(
        schedule="@daily",
        start_date="2024-01-31T06:00:00",
        end_date="2024-02-29",
        timezone="Europe/Berlin",
        catchup=True,
        dagrun_timeout=timedelta(hours=2),
        description="Nightly",
    )
    assert dag.schedule == "@daily" and dag.catchup and dag.description == "Nightly"
    assert dag.tags == {"kedro"} and dag.dagrun_timeout == timedelta(hours=2)
    assert dag.start_date == datetime(2024, 1, 31, 5, tzinfo=timezone.utc)
    assert dag.end_date == datetime(2024, 2, 28, 23, tzinfo=timezone.utc)
    assert dag.timezone.name == "Europe/Berlin"


def test_documentation_shows_docstrings_inputs_and_outputs():
    dag = create(
        Task("clean", [Node("clean", ["raw"], ["table"], doc="Clean it.\n\nTwice.")]),
        Task("train", [Node("train", ["table"], ["model"])], after=["clean"]),
        leaves={"<storage>/models": ["model", "score"]},
    )
    assert dag.get_task("clean").doc_md == (
        "### clean\n\nClean it.\n\nTwice.\n\n- inputs: `raw`\n- outputs: `table`"
    )
    assert dag.doc_md == (
        "Kedro pipeline `__default__` of `flights`, environment `airflow`.\n\n"
        "A run reads `raw`.\n\n"
        "| a run leaves | in |\n|---|---|\n| `model`, `score` | `<storage>/models` |\n\n"
        "- clean: `raw` → `table`\n- train: `table` → `model`"
    )


def test_dag_without_nodes_says_what_to_do():
    assert create().doc_md == (
        "Kedro pipeline `__default__` of `flights`, environment `airflow`: no nodes yet. "
        "Add a pipeline, and run `make dag`."
    )


def test_dag_is_scheduled_on_assets():
    dag = create(assets=["spaceflights.regressor", "other"])
    assert [asset.name for asset in dag.schedule] == ["spaceflights.regressor", "other"]


def test_datasets_are_assets_with_stable_names():
    tasks = [
        Task("clean", [Node("clean", ["raw", "params:size", "parameters"], ["table@pandas"])]),
        Task("train", [Node("train", ["table@spark", "données"], ["model"])], after=["clean"]),
    ]
    dag = create(*tasks)
    assets = {
        task.task_id: [[asset.uri for asset in side] for side in (task.inlets, task.outlets)]
        for task in dag.tasks
    }
    assert assets == {
        "clean": [["flights.raw"], ["flights.table"]],
        "train": [["flights.donn%C3%A9es"], ["flights.model"]],
    }
    assert [asset.name for asset in dag.get_task("train").outlets] == ["flights.model"]
    quiet = create(*tasks, outlets=False)
    assert [task.inlets + task.outlets for task in quiet.tasks] == [[], []]


def test_form_fields_are_params_of_the_dag():
    size = {"default": 0.2, "type": "number", "maximum": 0.5, "description": "Share"}
    dag = create(params={"model.size": size, "model.kind": {"default": "a", "enum": ["a", "b"]}})
    size, kind = dag.params.get_param("model.size"), dag.params.get_param("model.kind")
    assert (size.value, size.description) == (0.2, "Share")
    assert size.schema == {"type": "number", "maximum": 0.5}
    assert kind.schema == {"enum": ["a", "b"]}


@pytest.mark.parametrize("setting", ["on_success_callback", "on_failure_callback"])
def test_callback_is_imported_only_when_it_is_called(setting, tmp_path, monkeypatch):
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / f"alerts_{setting}.py").write_text("def tell(context): return context['x']")
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(engine, "__file__", str(tmp_path / "dags" / "flights_airflow" / "dag.py"))
    [callback] = [getattr(create(**{setting: f"alerts_{setting}.tell"}), setting)]
    assert f"alerts_{setting}" not in sys.modules
    assert callback({"x": 3}) == 3


def test_task_runs_its_nodes_with_what_the_run_passes_and_nothing_more():
    nodes = [Node("train", ["table@spark", "raw"], ["model"], "science", doc="Train.")]
    others = [Node("clean", ["raw"], ["table@pandas"]), Node("other", ["raw"], ["unrelated"])]
    dag = create(
        Task("clean", others), Task("train", nodes, after=["clean"]), Task("end", after=["train"])
    )
    run = SimpleNamespace(run_id="manual__1", run_after=datetime(2024, 1, 31, tzinfo=timezone.utc))
    context = {"dag_run": run, "params": {}}
    work = dag.get_task("train").run_in(context)
    assert work == Run(
        package="flights",
        pipeline="__default__",
        env="airflow",
        conf_source=None,
        written=["model", "table@pandas"],
        nodes=[Node("train", ["table@spark", "raw"], ["model"], "science")],
        parameters=engine.run_parameters(context, (), "manual__1"),
        version="2024-01-31T00.00.00.000000Z-19b04f56",
    )
    assert Run.from_json(work.to_json()) == work
    removal = dag.get_task("end").run_in(context)
    assert (removal.nodes, removal.written) == ([], ["model", "table@pandas", "unrelated"])


def test_run_passes_its_form_and_its_times_to_kedros_parameters():
    run = SimpleNamespace(run_id="manual__2024-01-31T06:00:00+00:00", logical_date=None)
    run.data_interval_start = datetime(2024, 1, 30, tzinfo=timezone.utc)
    params = {"model.options.size": 0.4, "model.options.seed": 3, "top": 1}
    given = engine.run_parameters({"dag_run": run, "params": params}, params, "a%3Ab")
    assert given == {
        "model": {"options": {"size": 0.4, "seed": 3}},
        "top": 1,
        "airflow": {
            "run_id": "manual__2024-01-31T06:00:00+00:00",
            "folder": "a%3Ab",
            "logical_date": None,
            "data_interval_start": "2024-01-30T00:00:00+00:00",
            "data_interval_end": None,
        },
    }


def test_runs_of_different_dags_of_a_project_share_nothing_although_their_ids_are_the_same():
    run_after = datetime(2024, 1, 31, tzinfo=timezone.utc)
    run = SimpleNamespace(run_id="scheduled__1", run_after=run_after)
    context = {"dag_run": run, "params": {}}
    task = Task("train", [Node("train", ["raw"], ["model"])])
    works = [
        create(task, dag_id=dag_id).get_task("train").run_in(context)
        for dag_id in ("flights", "flights-science", "flights-test")
    ]
    folders = [work.parameters["airflow"]["folder"] for work in works]
    assert folders == [
        "scheduled__1",
        "flights-science.scheduled__1",
        "flights-test.scheduled__1",
    ]
    assert len({work.version for work in works}) == 3


@given(st.text(st.sampled_from("ab01_.~:+-/é"), min_size=1, max_size=250) | st.just("a:" * 100))
def test_each_run_has_one_folder_of_its_own_whatever_its_id(run_id):
    folder = engine.run_folder(run_id)
    assert PurePosixPath("runs", folder).parts == ("runs", folder)
    assert folder not in (".", "..") and len(folder) <= 120 and folder.isascii()
    if "+" in folder:
        assert engine.run_folder(f"{run_id}_") != folder
    else:
        assert unquote(folder) == run_id


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
def test_versions_are_unique_and_sort_by_time(runs):
    versions = {engine.run_version(*run): run[1] for run in runs}
    assert len(versions) == len(runs)
    times = [versions[version] for version in sorted(versions)]
    assert times == sorted(times)
    assert not any(sign in version for version in versions for sign in "/\\:")


def test_versions_are_in_utc():
    run_after = datetime(2026, 1, 1, 2, tzinfo=timezone(timedelta(hours=9)))
    assert engine.run_version("a", run_after).startswith("2025-12-31T17.00.00.000000Z-")


def test_airflow_2_is_refused_in_one_sentence(monkeypatch):
    monkeypatch.setitem(sys.modules, "airflow.sdk", None)
    monkeypatch.delitem(sys.modules, "flights_airflow.dag")
    with pytest.raises(ImportError, match=r"^The DAGs of this project need Apache Airflow 3"):
        import flights_airflow.dag  # noqa: F401
