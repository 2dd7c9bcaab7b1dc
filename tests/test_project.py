"""A generated project, installed as its README says, runs, is tested, and protects itself."""

import json
import shutil
import sys
import tarfile
import zipfile

import pandas as pd
import pytest

from compose import STARTERS
from tests.conftest import ENVIRONMENT, answers, kedro_new, run, venv

pytestmark = pytest.mark.slow
PACKAGE = "space_flights"
DAG = f"dags/{PACKAGE}_airflow_dag.py"
DAG_TEST = "tests/dags/test_dag.py"


@pytest.fixture(scope="module", params=STARTERS)
def created(request, template, tmp_path_factory):
    """A project and an environment of its own with what `make install` installs."""
    folder = tmp_path_factory.mktemp(request.param)
    kedro_new(template, request.param, folder, answers())
    project = folder / "space-flights"
    return project, venv(folder / "venv", f"{project}[airflow,dev]")


@pytest.fixture
def project(created, tmp_path):
    """A fresh copy of the project."""
    return shutil.copytree(created[0], tmp_path / "space-flights")


@pytest.fixture
def command(created, project):
    """Run a command of the project's environment in the project."""
    path = f"{created[1]}:{ENVIRONMENT['PATH']}"

    def run_in_project(*words, check=True, **environment):
        environment = (
            ENVIRONMENT | {"PATH": path, "AIRFLOW_HOME": str(project / ".airflow")} | environment
        )
        environment.pop("KEDRO_LOGGING_CONFIG")
        return run(*words, cwd=project, check=check, env=environment)

    return run_in_project


def edit(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def metrics(project):
    [path] = project.glob("data/08_reporting/metrics.json/*/metrics.json")
    return json.loads(path.read_text())


def test_kedro_run_works_with_and_without_the_airflow_environment(project, command):
    plain = command("kedro", "run")
    assert "Pipeline execution completed successfully" in plain.stderr
    expected = metrics(project)
    shutil.rmtree(project / "data" / "08_reporting")
    command("kedro", "run", "--env=airflow")
    assert metrics(project) == expected
    assert any((project / "data" / "02_intermediate" / "kedro").iterdir())
    assert not list(project.rglob("*.log"))
    records = [line for line in plain.stderr.splitlines() if line]
    assert [line for line in records if not line.startswith("20")] == []


def test_metrics_are_good(project, command):
    command("kedro", "run")
    found = metrics(project)
    assert found.get("r2_score", 1) > 0.8 and found.get("accuracy", 1) > 0.9


def test_project_passes_its_own_tests_and_linters(command):
    tested = command("make", "test")
    assert " passed" in tested.stdout and "skipped" not in tested.stdout
    command("ruff", "check", ".")
    command("ruff", "format", "--check", ".")


def test_make_help_lists_the_verbs(command):
    listed = command("make", "help").stdout
    verbs = {line.split()[1] for line in listed.splitlines()}
    expected = {"help", "install", "run", "test", "dag", "airflow", "package"}
    assert verbs == expected | {"start", "stop", "parse", "deploy"}


def test_package_carries_the_project_and_no_local_configuration(project, command):
    for name in ("credentials.yml", "credentials.yaml", "credentials.json", "deep/secret.txt"):
        path = project / "conf" / "local" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("key: TOP-SECRET")
    command("make", "package")
    [wheel] = project.glob("dist/*.whl")
    assert f"{PACKAGE}/pipeline_registry.py" in zipfile.ZipFile(wheel).namelist()
    with tarfile.open(project / "dist" / f"conf-{PACKAGE}.tar.gz") as archive:
        names = archive.getnames()
    assert "conf/airflow/airflow.yml" in names
    assert [name for name in names if "local" in name] == []


def test_make_dag_writes_what_the_hook_wrote(project, command):
    written = (project / DAG).read_text()
    (project / DAG).unlink()
    command("make", "dag")
    assert (project / DAG).read_text() == written


@pytest.mark.parametrize(
    "file, old, new",
    [
        ("conf/airflow/airflow.yml", "schedule: null", 'schedule: "@daily"'),
        (f"src/{PACKAGE}/pipelines/data_science/pipeline.py", "train_model_node", "fit_node"),
        (
            f"src/{PACKAGE}/pipelines/data_science/pipeline.py",
            'outputs="metrics"',
            'outputs="scores"',
        ),
    ],
)
def test_project_test_fails_when_the_dag_is_stale(project, command, file, old, new):
    edit(project / file, old, new)
    failed = command("python", "-m", "pytest", "-k", "as_new_as", DAG_TEST, check=False)
    assert failed.returncode == 1 and "run `make dag`" in failed.stdout
    command("make", "dag")
    command("python", "-m", "pytest", "-k", "as_new_as", DAG_TEST)


def test_project_test_fails_when_a_dataset_between_tasks_is_not_persisted(project, command):
    catalog = project / "conf" / "airflow" / "catalog.yml"
    entry = catalog.read_text().split('"{any_dataset}"')
    catalog.write_text(entry[0] + "\n".join(entry[1].split("\n")[3:]))
    failed = command("python", "-m", "pytest", "-k", "persisted", DAG_TEST, check=False)
    assert failed.returncode == 1 and "conf/airflow/catalog.yml" in failed.stdout


@pytest.mark.parametrize("module", ["kedro", "pandas", PACKAGE])
def test_project_test_fails_when_the_dag_imports_project_code(project, command, module):
    logic = project / "dags" / "kedro_dag.py"
    logic.write_text(
        logic.read_text().replace("from airflow.sdk", f"import {module}\nfrom airflow.sdk")
    )
    failed = command(
        *("python", "-m", "pytest", "-k", "imports_no_project_code", DAG_TEST),
        check=False,
        PYTHONPATH=str(project / "src"),
    )
    assert failed.returncode == 1 and module in failed.stdout


def test_project_test_fails_when_the_dag_does_not_load(project, command):
    edit(project / DAG, '"schedule": None', '"schedule": "every morning"')
    assert command("python", "-m", "pytest", DAG_TEST, check=False).returncode == 1


def test_project_test_fails_when_there_is_no_dag(project, command):
    (project / DAG).unlink()
    failed = command("python", "-m", "pytest", DAG_TEST, check=False)
    assert failed.returncode == 1 and "run `make dag`" in failed.stdout


def test_importing_the_dag_leaves_logging_as_it_was(project, command):
    code = (
        "import logging, runpy, airflow.sdk; before = list(logging.root.handlers);"
        f"runpy.run_path({str(project / DAG)!r}); assert logging.root.handlers == before"
    )
    command("python", "-c", code, PYTHONPATH=str(project / "dags"))


def test_task_loads_only_the_pipelines_that_it_needs(project, command):
    code = (
        "import runpy, sys; from types import SimpleNamespace; from datetime import datetime, timezone\n"
        f"dag = runpy.run_path({str(project / DAG)!r})['dag']\n"
        "task = dag.topological_sort()[0]; run_after = datetime.now(timezone.utc)\n"
        "task.execute({'dag_run': SimpleNamespace(run_id='manual__1', run_after=run_after)})\n"
        f"found = {{m.split('.')[2] for m in sys.modules if m.startswith('{PACKAGE}.pipelines.')}}\n"
        "print(*sorted(found)); assert found == {task.nodes[0].pipeline}\n"
        "assert 'requests' not in sys.modules or not any('heap' in m for m in sys.modules)"
    )
    command(
        "python", "-c", code, PYTHONPATH=str(project / "dags"), AIRFLOW__CORE__LOAD_EXAMPLES="False"
    )


def test_spaceflights_reads_data_with_the_gaps_of_kedros_tutorial(project, command):
    raw = project / "data" / "01_raw"
    if not (raw / "shuttles.xlsx").exists():
        pytest.skip("iris has no such data")
    companies = pd.read_csv(raw / "companies.csv")
    assert list(companies) == [
        *("id", "company_rating", "company_location", "total_fleet_count", "iata_approved")
    ]
    reviews = pd.read_csv(raw / "reviews.csv")
    assert list(reviews) == [
        *("shuttle_id", "review_scores_rating", "review_scores_comfort"),
        *("review_scores_amenities", "review_scores_trip", "review_scores_crew"),
        *("review_scores_location", "review_scores_price", "number_of_reviews"),
        "reviews_per_month",
    ]
    shuttles = pd.read_excel(raw / "shuttles.xlsx")
    assert list(shuttles) == [
        *("id", "shuttle_location", "shuttle_type", "engine_type", "engine_vendor", "engines"),
        *("passenger_capacity", "cancellation_policy", "crew", "d_check_complete"),
        *("moon_clearance_complete", "price", "company_id"),
    ]
    assert sum(path.stat().st_size for path in raw.iterdir()) < 1_000_000
    companies.loc[::2, ["company_rating", "company_location"]] = None
    companies.loc[::7, ["total_fleet_count", "iata_approved"]] = None
    companies.to_csv(raw / "companies.csv", index=False)
    reviews.loc[::3, reviews.columns[1:8]] = None
    reviews.to_csv(raw / "reviews.csv", index=False)
    shuttles.assign(moon_clearance_complete="f").to_excel(raw / "shuttles.xlsx", index=False)
    command("kedro", "run", "--env=airflow")


def test_raw_data_is_what_its_script_writes(tmp_path):
    from tests.conftest import ROOT

    copy = shutil.copytree(ROOT / "layers" / "examples", tmp_path / "examples")
    raw = {path.relative_to(copy): path for path in sorted(copy.rglob("data/01_raw/*"))}
    for path in raw.values():
        path.unlink()
    run(sys.executable, copy / "make_data.py", cwd=tmp_path)
    for name, path in raw.items():
        committed = ROOT / "layers" / "examples" / name
        read = pd.read_excel if path.suffix == ".xlsx" else pd.read_csv
        pd.testing.assert_frame_equal(read(path), read(committed))
