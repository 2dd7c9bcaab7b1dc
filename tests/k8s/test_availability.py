"""Two of each: what the overlays high-availability and pgbouncer promise, on this machine.

Airflow, PostgreSQL and PgBouncer are real. Kubernetes (kubernetes_api.py) is a stand-in, and the
pods only wait. Needs root, podman and debootstrap.
"""

import re

import pytest

from local_airflow import LocalAirflow
from tests.airflow_settings import of_platform
from tests.conftest import ROOT, edit
from tests.k8s.test_pods import wait_for
from tests.processes import children, kill
from tests.standins import images
from tests.standins.images import K8S, bases, create_project
from tests.standins.kubernetes_api import KubernetesApi, podman
from tests.standins.servers import PgBouncer

pytestmark = pytest.mark.slow
RUNS = 10
SERVERS = ("api-server", "dag-processor", *("scheduler", "triggerer") * 2)
DAG = "availability-reporting"
INI = re.compile(r"^```text\n(\[databases\]\n.*?)^```", re.MULTILINE | re.DOTALL)
# What the pods run instead of the project's nodes, from their volume.
WAITS = """
import time
from pathlib import Path

while not Path("data/go").exists():
    time.sleep(0.2)
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory, forks):
    """A project whose DAG has one task, and may have ten runs at a time."""
    project = create_project(K8S, "Availability", tmp_path_factory.mktemp("availability"))
    settings = project / "conf" / "airflow" / "airflow.yml"
    edit(settings, "max_active_runs: 3", f"max_active_runs: {RUNS}")
    edit(settings, "retry_delay: 1m", "retry_delay: 1s")
    settings.write_text(f"{settings.read_text()}  env: {{PYTHONPATH: data}}\n")
    forks.run("kedro", "airflow", "create", "--pipelines=reporting", cwd=project)
    return project


@pytest.fixture(scope="module")
def image(project):
    """The image that the project's starts from."""
    [base] = set(bases(project / "Dockerfile"))
    if podman("image", "exists", base, check=False).returncode:
        images.run(images.FOLDER / "make_base.sh", base)
    return base


@pytest.fixture(scope="module")
def volume(tmp_path_factory):
    volume = tmp_path_factory.mktemp("volume")
    package = volume / "dags" / "availability_airflow"
    package.mkdir(parents=True)
    (package / "run.py").write_text(WAITS)
    return volume


@pytest.fixture(scope="module")
def pgbouncer(postgresql):
    """PgBouncer as the documentation configures it."""
    [ini] = INI.findall((ROOT / "docs" / "kubernetes.md").read_text())
    [connection] = postgresql.database().values()
    with PgBouncer(ini, connection) as server:
        yield server


@pytest.fixture(scope="module")
def kubernetes(tmp_path_factory, volume):
    volumes = {"availability-data": volume}
    with KubernetesApi(tmp_path_factory.mktemp("kubernetes") / "api", volumes) as kubernetes:
        yield kubernetes


@pytest.fixture(scope="module")
def airflow(tmp_path_factory, project, image, kubernetes, pgbouncer):
    """An Airflow with two schedulers and two triggerers, each of which takes half of the runs."""
    environment = {
        **kubernetes.environment,
        **of_platform("k8s"),
        "AIRFLOW__CORE__PARALLELISM": "3",
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(project / "plugins"),
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": pgbouncer.connection,
        "AIRFLOW__SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": "5",
        "AIRFLOW__TRIGGERER__CAPACITY": str(RUNS // 2),
        "AIRFLOW__WORKERS__EXECUTION_API_TIMEOUT": "60",  # seconds, on a busy machine
        "KEDRO_IMAGE": image,
    }
    command = kubernetes.servers(*SERVERS)
    home = tmp_path_factory.mktemp("airflow")
    with LocalAirflow(home, project / "dags", environment=environment, command=command) as airflow:
        yield airflow


def tasks(airflow):
    """The task instances of all runs."""
    return airflow.get(f"dags/{DAG}/dagRuns/~/taskInstances?limit=1000")["task_instances"]


def test_ten_runs_survive_the_death_of_a_scheduler_and_a_triggerer_of_two_behind_pgbouncer(
    airflow, kubernetes, volume
):
    runs = [airflow.trigger(DAG) for _ in range(RUNS)]

    def triggerers():
        return {task["triggerer_job"]["id"] for task in tasks(airflow) if task["triggerer_job"]}

    wait_for(lambda: len(triggerers()) == 2)
    servers = children(airflow.process)
    kill(*(servers[SERVERS.index(name)] for name in ("scheduler", "triggerer")))
    # A pod that ends before the second try has found it is run again.
    wait_for(lambda: [task["state"] for task in tasks(airflow)].count("deferred") == RUNS)
    (volume / "go").touch()
    assert [airflow.wait(DAG, run_id) for run_id in runs] == ["success"] * RUNS
    assert len(kubernetes.created) == RUNS
    # Tasks that died with their scheduler have had a second try, which found their pods.
    assert {task["try_number"] for task in tasks(airflow)} <= {1, 2}
