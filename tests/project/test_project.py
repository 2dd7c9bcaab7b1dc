"""A new project, installed as its README says, runs, passes its tests, and protects itself."""

import ast
import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import tarfile
import time
import zipfile
from pathlib import Path

import httpx
import pandas as pd
import pytest

from refused_names import NAMES, installed
from tests.conftest import ENVIRONMENT, edit, metrics
from tests.processes import listening

pytestmark = pytest.mark.slow
PACKAGE = "space_flights"
DAG = f"dags/{PACKAGE}_airflow_dag.py"
one_starter = pytest.mark.parametrize("created", ["spaceflights-astro"], indirect=True)
END = "    return dag\n\n\ndef moment"
CYCLE = f"    list(operators.values())[-1] >> list(operators.values())[0]\n{END}"
ENGINE = f"dags/{PACKAGE}_airflow"
DAG_TEST = "tests/dags/test_dag.py"
PLOTS = ["company_rating_plot", "metrics", "passenger_capacity_plot", "price_prediction_plot"]
REPORTS = {"model": ["metrics"], "regressor": PLOTS}  # of each example, by its model


def test_kedro_run_works_with_and_without_the_airflow_environment(project, command):
    plain = command("kedro", "run")
    assert "Pipeline execution completed successfully" in plain.stderr
    expected = metrics(project)
    assert expected.get("r2_score", 1) > 0.8 and expected.get("accuracy", 1) > 0.9
    shutil.rmtree(project / "data" / "08_reporting")
    command("kedro", "run", "--env=airflow")
    assert metrics(project) == expected
    assert any((project / "data" / "02_intermediate" / "kedro").iterdir())
    assert not list(project.rglob("*.log"))
    records = [line for line in plain.stderr.splitlines() if line]
    assert [line for line in records if not line.startswith("20")] == []


def test_project_passes_its_own_tests_and_linters(command):
    tested = command("make", "test")
    assert " passed" in tested.stdout and "skipped" not in tested.stdout
    command("ruff", "check", ".")
    command("ruff", "format", "--check", ".")


def test_no_other_project_may_have_a_name_that_the_environment_has(created):
    names = installed(created[1] / "python") - {PACKAGE}
    assert names - {*NAMES.read_text().split()} == set(), "run `python refused_names.py`"


def test_make_help_lists_the_targets(created, command):
    listed = command("make", "help").stdout
    verbs = {line.split()[1] for line in listed.splitlines()}
    expected = {"help", "install", "lock", "run", "test", "check", "dag", "airflow", "package"}
    starter = created[0].parent.name
    if starter.startswith("spaceflights-mwaa"):
        assert verbs == expected | {"data", "bundle", "packages", "plan", "deploy"}
    elif starter.startswith("spaceflights-k8s"):
        assert verbs == expected | {*"image push cluster up deploy data trigger logs down".split()}
    else:
        assert verbs == expected | {"start", "stop", "parse", "deploy"}


@one_starter
def test_make_install_makes_an_environment_in_which_the_project_runs(project, command, tmp_path):
    fresh = tmp_path / "venv"
    command("uv", "venv", "--quiet", "--seed", "--python", sys.executable, fresh)
    [packages] = fresh.glob("lib/*/site-packages")
    (packages / "installed.pth").write_text(sysconfig.get_path("purelib"))  # to download little
    environment = {"PATH": f"{fresh / 'bin'}:{ENVIRONMENT['PATH']}"}
    command("make", "install", **environment)
    code = f"import {PACKAGE}; print({PACKAGE}.__file__)"
    imported = command("python", "-c", code, **environment).stdout.strip()
    assert imported == str(project / "src" / PACKAGE / "__init__.py")


@one_starter
def test_make_install_installs_nothing_but_what_make_lock_has_pinned_by_hash(project, command):
    def steps():
        return command("make", "--dry-run", "install").stdout.splitlines()[1:]

    python = "python -m pip install"
    editable = f"{python} --editable . --requirement requirements-dev.txt"
    assert [step.strip() for step in steps()] == [editable]
    with (project / "requirements.txt").open("a") as requirements:
        requirements.write("humanize==4.11.0\n")
    command("make", "lock")
    pinned = (project / "requirements.lock").read_text().split("\n")
    blocks = "\n".join(line for line in pinned if not line.lstrip().startswith("#"))
    packages = re.split(r"\n(?=\S)", blocks.strip())
    assert len(packages) > 150
    assert [package for package in packages if "--hash=sha256:" not in package] == []
    assert any(package.startswith("humanize==4.11.0 ") for package in packages)
    hashed = f"{python} --require-hashes --requirement requirements.lock"
    assert steps() == [hashed, f"{editable} --no-index --no-build-isolation"]
    command("git", "init", "--quiet")
    assert (
        command("git", "status", "--short", "requirements.lock").stdout == "?? requirements.lock\n"
    )


@one_starter
def test_make_airflow_starts_airflow_with_the_dag_for_this_machine_only(project, created, tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {
        **ENVIRONMENT,
        "PATH": f"{created[1]}:{ENVIRONMENT['PATH']}",
        "AIRFLOW__API__PORT": str(port),
        "AIRFLOW__API__BASE_URL": f"http://127.0.0.1:{port}",
    }
    started = time.monotonic()
    output = (tmp_path / "output").open("w")
    airflow = subprocess.Popen(
        ["make", "airflow"], cwd=project, env=environment, stdout=output, stderr=output,
        start_new_session=True,
    )  # fmt: skip
    try:
        dags = []
        while not dags and airflow.poll() is None and time.monotonic() < started + 180:
            time.sleep(1)
            with contextlib.suppress(httpx.HTTPError, KeyError):
                api = httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False)
                token = api.get("/auth/token").json()["access_token"]
                bearer = {"Authorization": f"Bearer {token}"}
                dags = api.get("/api/v2/dags", headers=bearer).json()["dags"]
        assert [dag["dag_id"] for dag in dags] == [PACKAGE], (tmp_path / "output").read_text()
        assert dags[0]["is_paused"] and not dags[0]["has_import_errors"]
        assert listening(airflow) == {("127.0.0.1", port)}
    finally:
        os.killpg(airflow.pid, signal.SIGTERM)
        airflow.wait(timeout=60)


ASK = """#!{python}
from urllib.request import getproxies, proxy_bypass

around = [host for host in ("localhost", "127.0.0.1", "lake") if proxy_bypass(host)]
print(f"{{getproxies()['http']}} but for {{around}}\\n", end="")  # at once: others print too
"""


@one_starter
@pytest.mark.parametrize("given", [{}, {"NO_PROXY": "lake"}, {"no_proxy": "lake", "NO_PROXY": "x"}])
def test_local_airflow_calls_itself_without_the_proxy(project, command, tmp_path, given):
    (tmp_path / "airflow").write_text(ASK.format(python=sys.executable))
    (tmp_path / "airflow").chmod(0o755)
    path = {"PATH": f"{tmp_path}:{ENVIRONMENT['PATH']}"}
    printed = command("make", "--silent", "airflow", HTTP_PROXY="http://proxy", **path, **given)
    around = ["localhost", "127.0.0.1", *(["lake"] if given else [])]
    processes = 5  # of Airflow: the migration, then four servers
    assert printed.stdout.splitlines() == [f"http://proxy but for {around}"] * processes


@one_starter
def test_package_contains_the_project_and_no_local_configuration(project, command):
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


def test_new_dag_has_a_field_in_its_form_and_says_what_a_run_leaves(created):
    call = ast.parse((created[0] / DAG).read_text()).body[-1].value
    given = {word.arg: word.value for word in call.keywords}
    field = {"default": 0.2, "minimum": 0.05, "maximum": 0.5, "type": "number"}
    field["description"] = "Share of the rows for testing"
    assert ast.literal_eval(given["params"]) == {"model_options.test_size": field}
    left = ast.literal_eval(given["leaves"])
    [model] = left["<storage>/06_models"]
    assert left == {"<storage>/06_models": [model], "<storage>/08_reporting": REPORTS[model]}


def test_make_dag_writes_what_the_hook_wrote(project, command):
    written = (project / DAG).read_text()
    (project / DAG).unlink()
    command("make", "dag")
    assert (project / DAG).read_text() == written


@one_starter
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


def test_make_check_finds_nothing_in_a_new_project_whose_storage_is_a_bucket(project, command):
    if not (project / "dags" / "pod.yaml").exists():  # pods have a volume
        bucket = "s3://bucket" if (project / "mwaa").exists() else "memory://bucket"
        edit(project / "conf" / "airflow" / "globals.yml", "storage: data", f"storage: {bucket}")
    assert command("make", "check").stdout.endswith("\nA deployment would work.\n")


@one_starter
def test_make_check_tells_which_tests_of_the_dag_fail(project, command):
    (project / DAG).unlink()
    command_line = ["python", "-m", f"{PACKAGE}.airflow_dag.preflight", "--json"]
    checked = command(*command_line, check=False)
    assert checked.returncode == 1 and json.loads(checked.stdout)[-1] == {
        "level": "error",
        "where": "tests/dags: test_there_is_a_dag",
        "why": "dags/ has no DAG of this project: run `make dag`.",
        "what_to_do": "See `make test`.",
    }


@one_starter
@pytest.mark.parametrize("module", ["kedro", "pandas", PACKAGE])
def test_project_test_fails_when_the_dag_imports_project_code(project, command, module):
    edit(project / ENGINE / "dag.py", "import pendulum\n", f"import {module}\nimport pendulum\n")
    failed = command(
        *("python", "-m", "pytest", "-k", "imports_no_project_code", DAG_TEST),
        check=False,
        PYTHONPATH=str(project / "src"),
    )
    assert failed.returncode == 1 and module in failed.stdout


@one_starter
@pytest.mark.parametrize(
    "file, old, new, said",
    [
        (DAG, "schedule=None", "schedule='daily'", "columns has to be specified"),
        (f"{ENGINE}/dag.py", END, CYCLE, "cycle"),
    ],
    ids=["schedule", "cycle"],
)
def test_project_test_fails_when_the_dag_does_not_load(project, command, file, old, new, said):
    edit(project / file, old, new)
    failed = command("python", "-m", "pytest", "-k", "loads", DAG_TEST, check=False)
    assert failed.returncode == 1 and "does not load" in failed.stdout
    assert said in failed.stdout.lower()


@one_starter
def test_wrong_setting_is_refused_and_nothing_is_written(project, command):
    written = (project / DAG).read_text()
    edit(project / "conf" / "airflow" / "airflow.yml", "retries: 2", "retires: 2")
    refused = command("make", "dag", check=False)
    assert refused.returncode != 0 and "Traceback" not in refused.stderr
    message = "conf/airflow/airflow.yml: default: retires: unknown name; did you mean retries?"
    assert f"Error: {message}" in refused.stderr
    assert (project / DAG).read_text() == written


@one_starter
def test_dags_of_several_pipelines_load_together_with_their_own_settings(project, command):
    settings = project / "conf" / "airflow" / "airflow.yml"
    edit(settings, "keep_intermediate: true", "keep_intermediate: false")
    settings.write_text(settings.read_text() + 'reporting:\n  schedule: "@weekly"\n')
    create = ["kedro", "airflow", "create"]
    command(*create, "--all")
    command("make", "test")
    code = (
        "from airflow.dag_processing.dagbag import DagBag; bag = DagBag('dags')\n"
        "assert not bag.import_errors, bag.import_errors\n"
        "print({name: dag.schedule for name, dag in bag.dags.items()})"
    )
    read = command("python", "-c", code).stdout.splitlines()[-1]
    assert ast.literal_eval(read) == {
        "space_flights": None,
        "space_flights-data_processing": None,
        "space_flights-data_science": None,
        "space_flights-reporting": "@weekly",
    }
    command(*create, "--tags=unknown", "--pipelines=reporting")
    command(*create, "--group-by=memory")
    assert "'split_data_node'," in (project / DAG).read_text()


@one_starter
def test_two_projects_of_different_releases_load_from_one_folder(project, command, tmp_path):
    other = tmp_path / "dags" / "other"
    shutil.copytree(project / "dags", tmp_path / "dags" / "first")
    shutil.copytree(project / "dags", other)
    edit(other / Path(ENGINE).name / "dag.py", 'ui_color = "#ffe36e"', 'ui_color = "#000000"')
    (other / Path(ENGINE).name).rename(other / "other_project_airflow")
    (other / ".airflowignore").write_text("other_project_airflow/\n")
    text = (other / Path(DAG).name).read_text().replace("space_flights", "other_project")
    (other / Path(DAG).name).unlink()
    (other / "other_project_airflow_dag.py").write_text(text)
    code = (
        "import sys; from airflow.dag_processing.dagbag import DagBag; bag = DagBag(sys.argv[1])\n"
        "assert not bag.import_errors, bag.import_errors\n"
        "print({name: dag.tasks[0].ui_color for name, dag in bag.dags.items()})"
    )
    read = command("python", "-c", code, tmp_path / "dags").stdout.splitlines()[-1]
    assert ast.literal_eval(read) == {"space_flights": "#ffe36e", "other_project": "#000000"}


@one_starter
def test_project_test_fails_when_there_is_no_dag(project, command):
    (project / DAG).unlink()
    failed = command("python", "-m", "pytest", DAG_TEST, check=False)
    assert failed.returncode == 1 and "run `make dag`" in failed.stdout


def test_importing_the_dag_leaves_logging_as_it_was(project, command):
    code = (
        "import logging, runpy, airflow.sdk; before = list(logging.root.handlers);"
        f"runpy.run_path({str(project / DAG)!r}); assert logging.root.handlers == before"
    )
    command("python", "-c", code)


def test_task_loads_only_the_pipelines_that_it_needs_and_sends_nothing(
    project, command, no_network
):
    code = [
        "import runpy, sys",
        "from datetime import datetime, timezone",
        "from types import SimpleNamespace",
        f"task = runpy.run_path({str(project / DAG)!r})['dag'].topological_sort()[0]",
        "run_after = datetime.now(timezone.utc)",
        "dag_run = SimpleNamespace(run_id='manual__1', run_after=run_after)",
        "task.execute({'dag_run': dag_run, 'params': {}})",
        f"loaded = [name for name in sys.modules if name.startswith('{PACKAGE}.pipelines.')]",
        "assert {name.split('.')[2] for name in loaded} == {task.nodes[0].pipeline}, loaded",
        f"writers = {{'kedro_airflow', '{PACKAGE}.cli', '{PACKAGE}.airflow_dag'}}",
        "writers &= {*sys.modules}",
        "assert not writers, writers",
    ]
    (project / ".telemetry").unlink()  # as on MWAA, which has only the package
    given = {"PYTHONPATH": str(no_network), "KEDRO_RUNNER": "executor", "DO_NOT_TRACK": ""}
    command("python", "-c", "\n".join(code), **given)
    assert not (project / "network-used").exists()


@one_starter
def test_spaceflights_reads_data_with_gaps_like_those_in_kedros_tutorial(project, command):
    raw = project / "data" / "01_raw"
    companies = pd.read_csv(raw / "companies.csv")
    companies.loc[::2, ["company_rating", "company_location"]] = None
    companies.loc[::7, ["total_fleet_count", "iata_approved"]] = None
    companies.to_csv(raw / "companies.csv", index=False)
    reviews = pd.read_csv(raw / "reviews.csv")
    reviews.loc[::3, reviews.columns[1:8]] = None
    reviews.to_csv(raw / "reviews.csv", index=False)
    shuttles = pd.read_excel(raw / "shuttles.xlsx").assign(moon_clearance_complete="f")
    shuttles.to_excel(raw / "shuttles.xlsx", index=False)
    command("kedro", "run", "--env=airflow")
