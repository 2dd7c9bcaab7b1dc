"""In a project, Kedro's commands do what Kedro and its tutorials say, for this kind of DAG."""

import importlib.util
import tarfile
import zipfile
from pathlib import Path

import pytest

from tests.conftest import edit

pytestmark = pytest.mark.slow
PACKAGE = "space_flights"
DAG = f"dags/{PACKAGE}_airflow_dag.py"
TEMPLATE = Path(importlib.util.find_spec("kedro_airflow").origin).with_name(
    "airflow_dag_template.j2"
)
COUNT = """
from kedro.pipeline import Node, Pipeline


def count(table) -> int:
    return len(table)


def create_pipeline(**kwargs) -> Pipeline:
    return Pipeline([Node(count, "{dataset}", "rows", name="count_node")])
"""
one_starter = pytest.mark.parametrize("created", ["spaceflights-astro"], indirect=True)


@pytest.mark.parametrize(
    "line",
    [
        "kedro airflow create",
        "kedro airflow create --target-dir=dags/ --env=airflow",  # as Kedro's tutorials have it
    ],
)
def test_command_in_the_tutorials_writes_the_dag_of_a_new_project(project, kedro, line):
    written = (project / DAG).read_text()
    (project / DAG).unlink()
    kedro(*line.split()[1:])
    assert (project / DAG).read_text() == written
    assert [path.name for path in project.glob("dags/*.py")] == [Path(DAG).name]


@one_starter
@pytest.mark.parametrize(
    "options, file, text",
    [
        ("--pipelines=data_science", "dags/{}_airflow_data_science_dag.py", "'train_model_node'"),
        ("-p data_science,reporting", "dags/{}_airflow_reporting_dag.py", "env='airflow'"),
        ("--all", "dags/{}_airflow_data_processing_dag.py", "'preprocess_companies_node'"),
        ("--env=base", "dags/{}_base_dag.py", "env='base'"),
        ("--env=local", "dags/{}_dag.py", "env='local'"),
        ("-t elsewhere/dags", "elsewhere/dags/{}_airflow_dag.py", "env='airflow'"),
        ("--group-by=namespace", "dags/{}_airflow_dag.py", "'train_model_node',"),
        ("--group-by=memory --env=base", "dags/{}_base_dag.py", "tasks = [Task("),
        ("--tags=unknown", "dags/{}_airflow_dag.py", "tasks = []"),
        ("--params=retries=4,group_by=pipeline", "dags/{}_airflow_dag.py", "'retries': 4,"),
        ("--conf-source=other", "dags/{}_airflow_dag.py", "conf_source='other'"),
    ],
)
def test_each_option_of_kedro_airflow_writes_this_kind_of_dag(project, kedro, options, file, text):
    kedro("airflow", "create", *options.split())
    written = (project / file.format(PACKAGE)).read_text()
    assert f"from {PACKAGE}_airflow.dag import create_dag" in written
    assert text in written


@one_starter
def test_all_excludes_pipelines_and_an_unknown_pipeline_is_named(project, kedro):
    create = ["airflow", "create"]
    both = kedro(*create, "--all", "--pipelines=reporting", check=False)
    assert "mutually exclusive" in both.stderr and "Traceback" not in both.stderr
    unknown = kedro(*create, "--pipelines=reporting,nothing", check=False)
    assert "Pipeline nothing not found." in unknown.stderr
    assert [path.name for path in project.glob("dags/*.py")] == [Path(DAG).name]


@one_starter
def test_another_template_writes_its_own_dag_with_the_settings_it_reads(project, command, kedro):
    settings = project / "conf" / "airflow" / "airflow.yml"
    edit(settings, "retry_delay: 1m", "retry_delay: 90s")
    edit(settings, "schedule: null", 'schedule: "@daily"')
    edit(settings, "owner: airflow", "owner: science")
    kedro("airflow", "create", f"--jinja-file={TEMPLATE}")
    written = (project / DAG).read_text()
    assert "_run_kedro_node" in written and "create_dag" not in written
    for text in (
        "start_date=datetime(2024,1,1,0,0,0)",
        'schedule="@daily"',
        'owner="science"',
        "retries=2",
        "retry_delay=timedelta(minutes=1.5)",
    ):
        assert text in written
    command("python", DAG)


def test_new_pipeline_is_registered_runs_and_is_in_the_dag(project, command, kedro):
    kedro("pipeline", "create", "counting")
    assert "counting" in kedro("registry", "list").stdout.split()
    dataset = "iris" if (project / "data/01_raw/iris.csv").exists() else "companies"
    pipeline = project / "src" / PACKAGE / "pipelines" / "counting" / "pipeline.py"
    pipeline.write_text(COUNT.format(dataset=dataset))
    kedro("run", "--pipeline=counting")
    kedro("airflow", "create")
    assert "[Node('count_node', " in (project / DAG).read_text()
    command("python", "-m", "pytest", "tests/dags")


def test_catalog_and_registry_commands_know_the_project(kedro):
    described = kedro("catalog", "describe-datasets", "--env=airflow").stdout
    assert "PickleDataset" in described
    assert "{any_dataset}" in kedro("catalog", "list-patterns", "--env=airflow").stdout
    kedro("registry", "describe", "__default__")


@one_starter
def test_kedro_sends_no_telemetry_and_leaves_the_files_of_the_project_alone(
    project, command, no_network
):
    asked = {"DO_NOT_TRACK": "", "PYTHONPATH": str(no_network)}
    before = (project / "pyproject.toml").read_bytes()
    command("kedro", "run", "--pipeline=data_processing", **asked)
    assert (project / "pyproject.toml").read_bytes() == before
    assert not (project / "network-used").exists()


@one_starter
def test_kedro_package_builds_a_wheel_that_runs_and_the_configuration(project, command, tmp_path):
    command("kedro", "package")
    [wheel] = project.glob("dist/*.whl")
    assert f"{PACKAGE}/pipeline_registry.py" in zipfile.ZipFile(wheel).namelist()
    with tarfile.open(project / "dist" / f"conf-{PACKAGE}.tar.gz") as archive:
        assert "conf/airflow/airflow.yml" in archive.getnames()
