"""A project on MWAA: raw data, bundle, deployment, and runs of its DAG on both executors.

Bucket, installation, scheduler, worker and broker are real; MWAA's API is a stub.
"""

import json
import shutil

import pytest

from mwaa import deploy
from tests.conftest import ENVIRONMENT, answers, edit, find_python, kedro_new, metrics, run
from tests.mwaa.test_deploy import Service, content, versions
from tests.standins.mwaa_environment import (
    CONSTRAINTS,
    HOME,
    Mwaa,
    index_variables,
    install_airflow,
)

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
    """The project with its raw data in a bucket, and the bundle."""
    project = tmp_path_factory.mktemp("cloud") / "space-flights"
    shutil.copytree(local, project)
    s3.create_bucket(BUCKET)
    edit(project / "conf/airflow/globals.yml", "storage: data", f"storage: s3://{BUCKET}/data")
    run("make", "data", "bundle", "packages", cwd=project, env=ENVIRONMENT | s3.environment)
    return project


@pytest.fixture(scope="module")
def service(project):
    """MWAA's API, with an environment for the bucket."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(deploy, "BUNDLE", project / "dist" / "mwaa")
        patch.setattr(deploy, "POLL", 0)
        patch.setattr(deploy, "require_fresh_bundle", lambda: {"bucket": BUCKET})
        yield Service(BUCKET)


@pytest.fixture(scope="module")
def mwaa(service, s3, tmp_path_factory):
    """MWAA after the deployment of the bundle."""
    deploy.main(["space-flights"], s3=s3.client, mwaa=service)
    airflow = install_airflow(tmp_path_factory.mktemp("airflow") / "venv")
    with Mwaa(airflow, s3.client, s3.environment) as mwaa:
        mwaa.update(service.environment)
        yield mwaa


@pytest.fixture(scope="module")
def expected(local, mwaa):
    """The metrics of `kedro run` with MWAA's packages, on the local disk."""
    path = f"{mwaa.bin}:{ENVIRONMENT['PATH']}"
    run(mwaa.bin / "kedro", "run", cwd=local, env=ENVIRONMENT | {"PATH": path})
    return metrics(local)


@pytest.fixture
def run_dag(mwaa, postgresql, s3, tmp_path):
    """Run the DAG on an executor; return the new objects' contents and the tasks' logs.

    Airflow is started in an empty folder, which stays empty.
    """

    def run_it(executor):
        before, laid_out = set(content(s3, BUCKET)), files_of_mwaa()
        with mwaa.airflow(executor, postgresql.database(), tmp_path) as airflow:
            run_id = airflow.trigger(PACKAGE)
            state = airflow.wait(PACKAGE, run_id)
            tasks = airflow.tasks(PACKAGE, run_id)
            logs = {task["task_id"]: airflow.log(PACKAGE, run_id, task) for task in tasks}
        assert state == "success", logs
        assert files_of_mwaa() - laid_out == set() and list(tmp_path.iterdir()) == []
        return {k: v for k, v in content(s3, BUCKET).items() if k not in before}, logs

    return run_it


def files_of_mwaa() -> set[str]:
    """The files in MWAA's folder, except Airflow's own."""
    own = (".cache", "logs", "redis", "airflow.cfg", "airflow.db", "standalone.log", "simple_auth")
    paths = [path.relative_to(HOME) for path in HOME.rglob("*") if path.is_file()]
    return {
        path.as_posix()
        for path in paths
        if not path.parts[0].startswith(own) and "__pycache__" not in path.parts
    }


def saved_metrics(objects):
    [saved] = [value for key, value in objects.items() if key.endswith("/metrics.json")]
    return json.loads(saved)


def test_dag_runs_with_all_data_in_the_bucket_and_the_metrics_of_kedro_run(run_dag, expected):
    objects, logs = run_dag("LocalExecutor")
    assert len(logs) == 9 and saved_metrics(objects) == expected
    folders = {"/".join(key.split("/")[:2]) for key in objects}
    assert folders == {"data/02_intermediate", "data/06_models", "data/08_reporting"}
    log = [json.loads(line) for line in logs["evaluate_model_node"].splitlines()]
    records = [line for line in log if line.get("logger", "").startswith(f"{PACKAGE}.")]
    assert [record["level"] for record in records] == ["info"]


def test_changed_setting_takes_effect_without_an_update_and_celery_runs_the_dag(
    project, service, mwaa, run_dag, expected, s3
):
    before = versions(s3, BUCKET)
    edit(
        project / "conf/airflow/airflow.yml", "keep_intermediate: true", "keep_intermediate: false"
    )
    run("make", "dag", "bundle", cwd=project, env=ENVIRONMENT | s3.environment)
    deploy.main(["space-flights"], s3=s3.client, mwaa=service)
    after = versions(s3, BUCKET)
    changed = [key for key in after if after[key] != before.get(key)]
    assert changed == [f"dags/{PACKAGE}_airflow_dag.py"]

    mwaa.sync_dags()
    objects, logs = run_dag("CeleryExecutor")
    assert "remove_intermediate" in logs and saved_metrics(objects) == expected
    assert {key.split("/")[1] for key in objects} == {"06_models", "08_reporting"}


def checked(project, version):
    """The packages that `make packages` says MWAA would install."""
    environment = ENVIRONMENT | {"MWAA_AIRFLOW": version}
    said = run("make", "packages", cwd=project, env=environment).stdout.splitlines()
    return {line for line in said if "==" in line}


def frozen(python):
    """The installed packages."""
    listed = run("uv", "pip", "freeze", "--python", python, cwd=python.parent).stdout.splitlines()
    return {line for line in listed if "==" in line and not line.startswith("pip==")}


def test_pip_on_mwaa_installed_what_make_packages_says(project, mwaa):
    assert checked(project, "3.3.1") - frozen(mwaa.bin / "python") == set()


def test_pip_installs_what_make_packages_says_under_the_constraints_of_an_older_mwaa(
    project, tmp_path
):
    create = ("uv", "venv", "--quiet", "--seed", "--python", find_python("3.12"))
    run(*create, tmp_path / "venv", cwd=project)
    bundle, plugins = project / "dist" / "mwaa", tmp_path / "plugins"
    shutil.unpack_archive(bundle / "plugins.zip", plugins)
    lines = (bundle / "requirements.txt").read_text()
    requirements = tmp_path / "requirements.txt"
    requirements.write_text(lines.replace("/usr/local/airflow/plugins", str(plugins)))
    python = tmp_path / "venv" / "bin" / "python"
    constrained = ["--constraint", CONSTRAINTS / "3.2.1.txt", "--requirement", requirements]
    environment = ENVIRONMENT | index_variables()
    install = ["install", "--quiet", "--no-compile"]  # nothing runs it
    run(python, "-m", "pip", *install, *constrained, cwd=tmp_path, env=environment)
    assert checked(project, "3.2.1") == frozen(python)
