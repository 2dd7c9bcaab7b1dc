"""A project goes to MWAA: raw data, bundle, deployment, and runs of its DAG on both executors.

Bucket, installation, scheduler, worker and broker are real; MWAA's API is a stub.
"""

import json
import shutil
from pathlib import Path

import pytest
from mwaa import deploy

from tests.conftest import ENVIRONMENT, answers, edit, kedro_new, metrics, run
from tests.mwaa import CONSTRAINTS, HOME, Mwaa, index_variables, install_airflow, python312
from tests.test_deploy import Service, content, versions

pytestmark = pytest.mark.slow
BUCKET = "flights-mwaa"
PACKAGE = "space_flights"


@pytest.fixture(scope="module")
def local(template, tmp_path_factory):
    """A project as it was created."""
    folder = tmp_path_factory.mktemp("mwaa")
    kedro_new(template, "spaceflights-mwaa", folder, answers())
    return folder / "space-flights"


@pytest.fixture(scope="module")
def project(local, s3, tmp_path_factory):
    """The project with a bucket that has its raw data, and the bundle."""
    project = tmp_path_factory.mktemp("cloud") / "space-flights"
    shutil.copytree(local, project)
    s3.create_bucket(BUCKET)
    edit(project / "conf/airflow/globals.yml", "storage: data", f"storage: s3://{BUCKET}/data")
    run("make", "data", "bundle", "check", cwd=project, env=ENVIRONMENT | s3.environment)
    return project


@pytest.fixture
def service(project, s3, monkeypatch):
    """MWAA's API, with an environment that has the bundle."""
    monkeypatch.setattr(deploy, "BUNDLE", project / "dist" / "mwaa")
    monkeypatch.setattr(deploy, "POLL", 0)
    monkeypatch.setattr(deploy, "require_fresh_bundle", lambda: None)
    monkeypatch.setattr(deploy, "storage", lambda: (BUCKET, "data"))
    service = Service(BUCKET)
    deploy.main(["space-flights"], s3=s3.client, mwaa=service)
    return service


@pytest.fixture(scope="module")
def airflow(tmp_path_factory):
    """The executables of an environment with Airflow as MWAA has it."""
    return install_airflow(tmp_path_factory.mktemp("airflow") / "venv")


def written(before: set[Path]) -> list[str]:
    """The files in MWAA's folder that are new, but for those of Airflow itself."""
    own = (
        ".cache",
        "logs",
        "redis",
        "airflow.cfg",
        "airflow.db",
        "standalone.log",
        "simple_auth_manager",
    )
    new = [path.relative_to(HOME) for path in HOME.rglob("*") if path.is_file()]
    new = [path for path in new if path not in before and "__pycache__" not in path.parts]
    return [path.as_posix() for path in new if not path.parts[0].startswith(own)]


@pytest.mark.parametrize("executor", ["LocalExecutor", "CeleryExecutor"])
def test_dag_runs_on_mwaa_with_all_data_in_the_bucket_and_the_metrics_of_kedro_run(
    executor, local, project, service, s3, airflow, tmp_path
):
    before_run = set(versions(s3, BUCKET))
    with Mwaa(airflow, s3.client, s3.environment) as mwaa:
        mwaa.update(service.environment)
        laid_out = {path.relative_to(HOME) for path in HOME.rglob("*")}
        with mwaa.airflow(executor) as running:
            run_id = running.trigger(PACKAGE)
            state = running.wait(PACKAGE, run_id)
            tasks = running.tasks(PACKAGE, run_id)
            logs = {task["task_id"]: running.log(PACKAGE, run_id, task) for task in tasks}
        assert state == "success", logs
        assert len(tasks) == 9 and written(laid_out) == []
    path = f"{airflow}:{ENVIRONMENT['PATH']}"
    in_venv = ENVIRONMENT | {"PATH": path}
    reference = shutil.copytree(local, tmp_path / "space-flights")
    run(airflow / "kedro", "run", cwd=reference, env=in_venv)
    stored = content(s3, BUCKET)
    [saved] = [key for key in stored if key not in before_run and key.endswith("metrics.json")]
    assert json.loads(stored[saved]) == metrics(reference)
    new = {"/".join(key.split("/")[:2]) for key in stored if key not in before_run}
    assert new == {"data/02_intermediate", "data/06_models", "data/08_reporting"}
    log = [json.loads(line) for line in logs["evaluate_model_node"].splitlines()]
    records = [line for line in log if line.get("logger", "").startswith(f"{PACKAGE}.")]
    assert [record["level"] for record in records] == ["info"]
    assert not [line for text in logs.values() for line in text.splitlines() if "telemetry" in line]


def test_change_of_a_setting_needs_no_update_and_intermediate_data_is_removed_from_the_bucket(
    project, service, s3, airflow
):
    before = versions(s3, BUCKET)
    edit(
        project / "conf/airflow/airflow.yml", "keep_intermediate: true", "keep_intermediate: false"
    )
    run("make", "dag", "bundle", cwd=project, env=ENVIRONMENT | s3.environment)
    deploy.main(["space-flights"], s3=s3.client, mwaa=service)
    after = versions(s3, BUCKET)
    assert [key for key in after if after[key] != before.get(key)] == [
        f"dags/{PACKAGE}_airflow_dag.py"
    ]
    with Mwaa(airflow, s3.client, s3.environment) as mwaa:
        mwaa.update(service.environment)
        with mwaa.airflow("LocalExecutor") as running:
            run_id = running.trigger(PACKAGE)
            assert running.wait(PACKAGE, run_id) == "success"
    listed = s3.client.list_objects_v2(Bucket=BUCKET)["Contents"]
    new = {entry["Key"] for entry in listed} - set(after)
    assert {key.split("/")[1] for key in new} == {"06_models", "08_reporting"}


@pytest.mark.parametrize("version", ["3.3.1", "3.2.1"])
def test_pip_installs_the_requirements_under_mwaas_constraints_as_make_check_says(
    version, project, tmp_path, s3
):
    """The environment is empty but for pip, so that all is installed that `make check` names."""
    run("uv", "venv", "--quiet", "--seed", "--python", python312(), tmp_path / "venv", cwd=project)
    bundle, plugins = project / "dist" / "mwaa", tmp_path / "plugins"
    shutil.unpack_archive(bundle / "plugins.zip", plugins)
    requirements = tmp_path / "requirements.txt"
    requirements.write_text(
        (bundle / "requirements.txt")
        .read_text()
        .replace("/usr/local/airflow/plugins", str(plugins))
    )
    python = tmp_path / "venv" / "bin" / "python"
    constrained = ["--constraint", CONSTRAINTS / f"{version}.txt", "--requirement", requirements]
    environment = ENVIRONMENT | index_variables()
    run(python, "-m", "pip", "install", "--quiet", *constrained, cwd=tmp_path, env=environment)
    frozen = run("uv", "pip", "freeze", "--python", python, cwd=tmp_path).stdout.splitlines()
    installed = {line for line in frozen if "==" in line and not line.startswith("pip==")}
    environment = ENVIRONMENT | {"MWAA_AIRFLOW": version}
    checked = run("make", "check", cwd=project, env=environment).stdout.splitlines()
    assert installed == {line for line in checked if "==" in line}
