"""`runner: executor`: KubernetesExecutor turns a project's tasks into pods with Airflow in them.

Airflow and its executor, the image and its containers are real. Kubernetes (kubernetes_api.py) and
the chart's pod template are stand-ins. Needs root, podman and debootstrap.
"""

import os
from contextlib import ExitStack, contextmanager, suppress
from uuid import uuid4

import pytest
import yaml

from local_airflow import LocalAirflow
from tests.conftest import run
from tests.k8s.test_pods import (
    PARAMS,
    USER,
    create,
    ended,
    metrics_of_kedro,
    metrics_of_only_run,
    restarted,
    sent,
    tries,
    wait_for,
    wait_for_pod,
)
from tests.standins.images import build
from tests.standins.kubernetes_api import KubernetesApi, podman

pytestmark = pytest.mark.slow
SETTINGS = """
reporting:
  image: localhost/no-such-image:1.0
  retries: 0
"""
# What the chart 1.22 renders, except for names, service account and probes that do not matter here.
TEMPLATE = """
apiVersion: v1
kind: Pod
metadata:
  name: placeholder-name
  labels: {tier: airflow, component: worker}
spec:
  containers:
    - name: base
      image: localhost/airflow-without-kedro:1.0
      env:
        - {name: AIRFLOW__CORE__EXECUTOR, value: KubernetesExecutor}
        - {name: AIRFLOW_HOME, value: /opt/airflow}
        - name: AIRFLOW__DATABASE__SQL_ALCHEMY_CONN
          valueFrom: {secretKeyRef: {name: database, key: connection}}
        - {name: KEDRO_IMAGE, value: IMAGE}
      resources:
        limits: {cpu: "1", memory: 1Gi}
        requests: {cpu: 250m, memory: 512Mi}
      securityContext:
        allowPrivilegeEscalation: false
        capabilities: {drop: [ALL]}
      volumeMounts:
        - {name: logs, mountPath: /opt/airflow/logs}
        - {name: config, mountPath: /opt/airflow/airflow.cfg, subPath: airflow.cfg, readOnly: true}
  restartPolicy: Never
  securityContext:
    fsGroup: 0
    runAsGroup: 0
    runAsNonRoot: true
    runAsUser: 50000
    seccompProfile: {type: RuntimeDefault}
  serviceAccountName: airflow-worker
  terminationGracePeriodSeconds: 600
  volumes:
    - {name: logs, emptyDir: {}}
    - {name: config, configMap: {name: config}}
"""
CONFIG = """
[core]
auth_manager = airflow.providers.fab.auth_manager.fab_auth_manager.FabAuthManager
dags_folder = /opt/airflow/dags
execution_api_server_url = URL/execution/
executor = KubernetesExecutor
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("executor")


@pytest.fixture(scope="module")
def project(folder):
    return create("Tasks", SETTINGS, "data", folder, runner="executor")


@pytest.fixture(scope="module")
def image(project):
    """The project's image with Airflow, as `make image` builds it for this runner."""
    name = f"localhost/tasks:{uuid4().hex}"
    values = yaml.safe_load((project / "deploy" / "values.yaml").read_text())
    airflow = f"apache-airflow[cncf.kubernetes,postgres]=={values['airflowVersion']}"
    build(project, name, f"--build-arg=AIRFLOW={airflow}")
    yield name
    podman("rmi", "--force", name, check=False)


@pytest.fixture(scope="module")
def volume(project, folder):
    volume = folder / "volume"
    run("cp", "--recursive", project / "data", volume, cwd=folder)
    return volume


@pytest.fixture(scope="module")
def cluster(folder, project, image, volume, postgresql):
    """Airflow with KubernetesExecutor as in the overlay, and its Kubernetes."""
    overlay = (project / "deploy" / "overlays" / "executor-kubernetes.yaml").read_text()
    settings = yaml.safe_load(overlay)["config"]["kubernetes_executor"]
    database = postgresql.database()
    [connection] = database.values()
    template = folder / "pod_template_file.yaml"
    template.write_text(TEMPLATE.replace("IMAGE", image))
    config = {"airflow.cfg": CONFIG}
    knows = {"secrets": {"database": {"connection": connection}}, "config_maps": {"config": config}}
    with KubernetesApi(folder / "kubernetes", {"tasks-data": volume}, **knows) as kubernetes:
        environment = {
            **database,
            **kubernetes.environment,
            "AIRFLOW__CORE__EXECUTOR": "KubernetesExecutor",
            **{f"AIRFLOW__KUBERNETES_EXECUTOR__{k.upper()}": str(settings[k]) for k in settings},
            "AIRFLOW__KUBERNETES_EXECUTOR__POD_TEMPLATE_FILE": str(template),
            "AIRFLOW__SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": "5",
            "AIRFLOW__SCHEDULER__SCHEDULER_HEALTH_CHECK_THRESHOLD": "20",
            "KEDRO_IMAGE": image,
        }
        command = kubernetes.servers("scheduler", "dag-processor", "api-server")
        airflow = LocalAirflow(
            folder / "airflow", project / "dags", environment=environment, command=command
        )
        config["airflow.cfg"] = CONFIG.replace("URL", airflow.url)
        with airflow:
            yield airflow, kubernetes


@contextmanager
def held(path):
    """Let whoever opens a file wait for its content until the block ends."""
    content, pipe = path.read_bytes(), path.with_suffix(".pipe")
    path.unlink()
    os.mkfifo(path)
    path.chmod(0o644)
    try:
        yield
    finally:
        path.rename(pipe)
        path.write_bytes(content)
        with suppress(OSError):  # nobody waits: the pod was killed
            with open(os.open(pipe, os.O_WRONLY | os.O_NONBLOCK), "wb") as file:
                os.set_blocking(file.fileno(), True)
                file.write(content)
        pipe.unlink()


def wait_for_task(airflow, kubernetes, run_id):
    """Wait until the first task runs in its pod, and return the pod's name."""
    pod = wait_for_pod(kubernetes, run_id, "data_processing")
    wait_for(lambda: airflow.tasks("tasks", run_id)[0]["state"] == "running")
    return pod


def test_run_succeeds_in_its_tasks_pods_although_one_is_killed_and_the_api_server_is_busy(
    cluster, project, image, volume, folder
):
    airflow, kubernetes = cluster
    kubernetes.disturbances = {"create pods": [429, 500], "delete pods": [429]}
    run_id = airflow.trigger("tasks", PARAMS)
    with held(volume / "01_raw" / "companies.csv"):
        pod = wait_for_task(airflow, kubernetes, run_id)
        kubernetes.compact()
        kubernetes.disturbances["watch pods"] = ["end", "cut"]
        wait_for(lambda: not kubernetes.disturbances["watch pods"])
        kubernetes.kill(pod)
    assert "too old resource version" in (airflow.home / "standalone.log").read_text()
    assert ended(airflow, "tasks", run_id) == ("success", tries(data_processing=2))
    assert metrics_of_only_run(volume) == metrics_of_kedro(project, image, folder / "expected")
    assert len(sent(kubernetes, run_id)) == 5
    assert not any(kubernetes.disturbances.values())


def test_pods_match_pod_yaml_and_the_settings(cluster, image):
    _, kubernetes = cluster
    for pod in kubernetes.created:
        [container] = pod["spec"]["containers"]
        assert container["image"] == image
        assert container["resources"]["limits"] == {"cpu": "2", "memory": "1Gi"}
        assert container["securityContext"]["readOnlyRootFilesystem"] is True
        assert pod["spec"]["securityContext"]["runAsUser"] == USER


def test_task_whose_image_does_not_exist_fails_immediately(cluster):
    airflow, _ = cluster
    run_id = airflow.trigger("tasks-reporting")
    state, tasks = ended(airflow, "tasks-reporting", run_id)
    assert (state, tasks["reporting"]) == ("failed", ("failed", 1))


def test_run_survives_the_death_of_its_scheduler_with_the_same_pods(cluster, volume):
    """The last test: it leaves Airflow incomplete."""
    airflow, kubernetes = cluster
    with ExitStack() as stack:
        with held(volume / "01_raw" / "companies.csv"):
            run_id = airflow.trigger("tasks", PARAMS)
            pod = wait_for_task(airflow, kubernetes, run_id)
            stack.enter_context(restarted(airflow, kubernetes, "scheduler"))
            adopted = f"attempting to adopt pod {pod}"
            wait_for(lambda: adopted in (airflow.home / "scheduler.log").read_text())
        state, tasks = ended(airflow, "tasks", run_id)
    assert (state, set(tasks.values())) == ("success", {("success", 1)})
    assert len(sent(kubernetes, run_id)) == 4
