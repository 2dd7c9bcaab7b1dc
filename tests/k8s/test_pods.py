"""A project's DAG really runs its pods: Airflow's scheduler and triggerer, podman, S3.

Only Kubernetes is a stand-in (kubernetes_api.py). Needs root, podman and debootstrap.
"""

import json
import subprocess
import time
from contextlib import contextmanager
from uuid import uuid4

import pytest

from local_airflow import LocalAirflow
from tests.conftest import edit, run
from tests.processes import children, kill
from tests.standins.images import K8S, build, create_project
from tests.standins.kubernetes_api import KubernetesApi, podman

pytestmark = pytest.mark.slow
BUCKET = "flights-pods"
PARAMS = {"model_options.test_size": 0.3}
VOLUME = """
  tasks:
    pipeline:reporting: {memory: [512Mi, 2Gi], env: {MPLBACKEND: agg}}
reporting:
  image: localhost/no-such-image:1.0
  startup_timeout: 1d
  retries: 0
"""
ON_S3 = """
  image: IMAGE
  secrets: [bucket]
  config_maps: [region]
"""
USER = 10001


def create(name, settings, storage, folder, runner="pod"):
    """Create a project that keeps no intermediate data, and write its DAGs."""
    project = create_project(K8S, name, folder)
    edit(project / "conf/airflow/globals.yml", "storage: data", f"storage: {storage}")
    file = project / "conf/airflow/airflow.yml"
    edit(file, "runner: pod", f"runner: {runner}")
    edit(file, "keep_intermediate: true", "keep_intermediate: false")
    edit(file, "retries: 2", "retries: 1")
    edit(file, "retry_delay: 1m", "retry_delay: 1s")
    edit(file, "maximum: 0.5", "maximum: 5")  # with which a node fails
    file.write_text(file.read_text() + settings)
    pipelines = "__default__,reporting" if "\nreporting:" in settings else "__default__"
    run("kedro", "airflow", "create", f"--pipelines={pipelines}", cwd=project)
    return project


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("k8s")


@pytest.fixture(scope="module")
def images():
    names = {name: f"localhost/{name}:{uuid4().hex}" for name in ("pods", "flights")}
    yield names
    podman("rmi", "--force", *names.values(), check=False)


@pytest.fixture(scope="module")
def project(folder, images, k8s_image):
    """A project with its data on a volume; the DAG of its pipeline reporting has no image."""
    project = create("Pods", VOLUME, "data", folder)
    build(project, images["pods"])
    return project


@pytest.fixture(scope="module")
def on_s3(folder, images, project, s3):
    """A project with its data in a bucket."""
    settings = ON_S3.replace("IMAGE", images["flights"])
    flights = create("Flights", settings, f"s3://{BUCKET}/flights", folder)
    build(flights, images["flights"])
    s3.create_bucket(BUCKET)
    for path in (flights / "data" / "01_raw").iterdir():
        s3.client.upload_file(str(path), BUCKET, f"flights/01_raw/{path.name}")
    return flights


@pytest.fixture(scope="module")
def volume(project, folder):
    """The volume of the project's data, with raw data."""
    volume = folder / "volume"
    run("cp", "--recursive", project / "data", volume, cwd=folder)
    return volume


@pytest.fixture(scope="module")
def kubernetes(folder, volume, s3):
    region = {"AWS_DEFAULT_REGION": s3.environment["AWS_DEFAULT_REGION"]}
    secrets = {"bucket": {key: s3.environment[key] for key in s3.environment.keys() - region}}
    options = {"secrets": secrets, "config_maps": {"region": region}}
    with KubernetesApi(folder / "kubernetes", {"pods-data": volume}, **options) as kubernetes:
        yield kubernetes


@pytest.fixture(scope="module")
def airflow(kubernetes, folder, project, on_s3, images, postgresql):
    """Airflow with both projects. KEDRO_IMAGE is for the first; the second names its own image."""
    (folder / "dags").mkdir()
    for each in (project, on_s3):
        (folder / "dags" / each.name).symlink_to(each / "dags")
    environment = {
        **kubernetes.environment,
        **postgresql.database(),
        "AIRFLOW__CORE__PARALLELISM": "1",
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(project / "plugins"),
        "AIRFLOW__SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": "5",
        "AIRFLOW__TRIGGERER__JOB_HEARTBEAT_SEC": "1",
        "AIRFLOW__TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD": "10",
        "AIRFLOW__WORKERS__EXECUTION_API_RETRIES": "60",
        "KEDRO_IMAGE": images["pods"],
    }
    command = kubernetes.servers("api-server", "dag-processor", "scheduler", "triggerer")
    places = (folder / "airflow", folder / "dags")
    with LocalAirflow(*places, environment=environment, command=command) as airflow:
        yield airflow


@pytest.fixture(scope="module")
def expected(folder, project, images):
    return metrics_of_kedro(project, images["pods"], folder / "expected")


def metrics_of_kedro(project, image, data):
    """The metrics of `kedro run` with the runs' parameters, in an image of the project."""
    run("cp", "--recursive", project / "data", data, cwd=project)
    run("chown", "--recursive", USER, data, cwd=project)
    mount = f"--volume={data}:/home/kedro_docker/data"
    parameters = ",".join(f"{name}={value}" for name, value in PARAMS.items())
    podman("run", "--rm", "--network=none", mount, image, "kedro", "run", "--env=base",
           f"--params={parameters}")  # fmt: skip
    [metrics] = data.glob("08_reporting/metrics.json/*/metrics.json")
    return json.loads(metrics.read_text())


def sent(kubernetes, run_id):
    """The pods that Airflow sent for a run."""
    return [pod for pod in kubernetes.created if run_id in json.dumps(pod["spec"])]


def wait_for(condition, seconds=300):
    """Wait until the condition holds, and return its result."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    return found


def wait_for_pod(kubernetes, run_id, task_id):
    """Wait until a task's pod runs, and return its name."""

    def running():
        for pod in kubernetes.pods():
            ours = run_id in json.dumps(pod["spec"])
            task = pod["metadata"]["labels"]["task_id"]
            if ours and task == task_id and pod["status"]["phase"] == "Running":
                return pod["metadata"]["name"]
        return None

    return wait_for(running)


def hold_pod(airflow, kubernetes, dag_id, run_id, task_id):
    """Let a task's pod stand still as soon as the task waits for it, and return its name."""
    pod = wait_for_pod(kubernetes, run_id, task_id)
    kubernetes.send(pod, "STOP")
    wait_for(lambda: state_of(airflow, dag_id, run_id, task_id) == "deferred")
    return pod


def state_of(airflow, dag_id, run_id, task_id):
    """The state of a task instance."""
    return airflow.get(f"dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}")["state"]


@contextmanager
def restarted(airflow, kubernetes, *services):
    """Kill services of an Airflow in a cluster, and start them again."""
    found = children(airflow.process)
    running = dict(zip(airflow.command[-len(found) :], found, strict=True))
    options = {"cwd": airflow.cwd, "env": airflow.environment, "start_new_session": True}
    started = []
    for name in services:
        kill(running[name])
        log = (airflow.home / f"{name}.log").open("w")
        command = kubernetes.inside(name)
        started.append(subprocess.Popen(command, stdout=log, stderr=log, **options))
    try:
        yield
    finally:
        for process in started:
            process.terminate()
            process.wait()


def error_events(airflow, run_id):
    """The lines in a run's logs about a failed trigger, even if its pod did not fail."""
    logs = airflow.home.glob(f"logs/*/run_id={run_id}/*/*.log*")
    lines = [line for log in logs for line in log.read_text().splitlines()]
    signs = ("error event", "Re-deferring", "Unexpected error while waiting", "Unauthorized")
    found = [line for line in lines if any(sign in line for sign in signs)]
    return [line for line in found if "(404)" not in line]  # the pod was deleted


def ended(airflow, dag_id, run_id):
    """The run's state, and the state and number of each task's last try."""
    state = airflow.wait(dag_id, run_id)
    if state == "success":
        assert error_events(airflow, run_id) == []
    tasks = airflow.tasks(dag_id, run_id)
    return state, {task["task_id"]: (task["state"], task["try_number"]) for task in tasks}


def tries(**more):
    """What `ended` returns for tasks that succeeded, at the first try or the given one."""
    names = ("data_processing", "data_science", "reporting", "remove_intermediate")
    return {name: ("success", more.get(name, 1)) for name in names}


def messages(airflow, dag_id, run_id, task_id):
    """What the log of a task's first try says."""
    log = airflow.log(dag_id, run_id, {"task_id": task_id, "try_number": 1})
    return [json.loads(line)["event"] for line in log.splitlines()]


def metrics_of_only_run(volume):
    """The metrics of the only run on a volume, which left one version of each result."""
    [metrics] = volume.glob("08_reporting/metrics.json/*/metrics.json")
    assert metrics.stat().st_uid == USER
    saved = {path.parent.name for path in volume.glob("0[68]_*/*/*/*")}
    assert saved == {metrics.parent.name}
    assert not list(volume.glob("02_intermediate/*"))
    return json.loads(metrics.read_text())


def test_run_on_a_volume_succeeds_although_its_pods_are_evicted_killed_and_deleted(
    airflow, kubernetes, project, volume, expected
):
    run_id = airflow.trigger("pods", PARAMS)
    short = "The node was low on resource: memory. Threshold quantity: 100Mi, available: 96Mi."
    kubernetes.evict(hold_pod(airflow, kubernetes, "pods", run_id, "data_processing"), short)
    pod = hold_pod(airflow, kubernetes, "pods", run_id, "data_science")
    kubernetes.kill_as_out_of_memory(pod)
    kubernetes.delete(hold_pod(airflow, kubernetes, "pods", run_id, "reporting"))
    twice = tries(data_processing=2, data_science=2, reporting=2)
    assert ended(airflow, "pods", run_id) == ("success", twice)
    assert metrics_of_only_run(volume) == expected
    pods = sent(kubernetes, run_id)
    assert len(pods) == 7
    assert {pod["metadata"]["name"] for pod in pods} <= set(kubernetes.deleted)
    for task_id, reason in {
        "data_processing": f"Kubernetes ended the pod (Evicted): {short}",
        "data_science": "The pod needed more memory than its limit: raise `memory` in "
        "conf/airflow/airflow.yml, then `make dag`.",
        "reporting": "The pod was deleted before it was done. Its last events: "
        "Started (Started container base), Killing (Stopping container base)",
    }.items():
        assert reason in messages(airflow, "pods", run_id, task_id)


@pytest.fixture(scope="module")
def long_run(airflow, kubernetes):
    """A run whose first pod stands still, beside the runs of the tests that follow.

    The API server disturbs its clients, and in a minute refuses the tokens that they have now.

    Returns:
        The run's id, its pod, and when that stood still.
    """
    run_id = airflow.trigger("pods", PARAMS)
    pod = hold_pod(airflow, kubernetes, "pods", run_id, "data_processing")
    kubernetes.renew_tokens(seconds=65)
    kubernetes.disturbances = {
        "create pods": [429, 500],
        "delete pods": [500, 429],
        "get pods": [429, 500, "cut"],
        "get pods/log": ["cut", 429],
        "list pods": [429, 500],
    }
    return run_id, pod, time.monotonic()


def test_task_that_waits_for_its_pod_takes_no_slot(airflow, long_run):
    run_id, _, _ = long_run
    pool = airflow.get("pools/default_pool")
    slots = {key: pool[f"{key}_slots"] for key in ("occupied", "queued", "running", "deferred")}
    assert slots == {"occupied": 0, "queued": 0, "running": 0, "deferred": 1}
    assert state_of(airflow, "pods", run_id, "data_processing") == "deferred"


def test_pods_are_restricted_and_have_their_tasks_resources(airflow, kubernetes):
    resources = {}
    for pod in kubernetes.created:
        [container] = pod["spec"]["containers"]
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
        }
        assert pod["spec"]["securityContext"]["runAsNonRoot"] is True
        resources[pod["metadata"]["labels"]["task_id"]] = container["resources"]
    default = {
        "requests": {"cpu": "250m", "memory": "1Gi"},
        "limits": {"cpu": "2", "memory": "1Gi"},
    }
    assert resources["data_science"] == default
    assert resources["reporting"]["requests"] == {"cpu": "250m", "memory": "512Mi"}
    assert resources["reporting"]["limits"] == {"cpu": "2", "memory": "2Gi"}


def test_run_on_s3_waits_for_the_quota_and_succeeds_with_nothing_on_a_disk_in_the_only_slot(
    airflow, kubernetes, on_s3, s3, expected, long_run
):
    kubernetes.quota = 1
    run_id = airflow.trigger("flights", PARAMS)
    wait_for(lambda: "deferred" in [task["state"] for task in airflow.tasks("flights", run_id)])
    assert sent(kubernetes, run_id) == []
    kubernetes.quota = 100
    state, tasks = ended(airflow, "flights", run_id)
    assert (state, set(tasks.values())) == ("success", {("success", 1)})
    listed = s3.client.list_objects_v2(Bucket=BUCKET)["Contents"]
    [key] = [item["Key"] for item in listed if item["Key"].endswith("metrics.json")]
    assert json.loads(s3.client.get_object(Bucket=BUCKET, Key=key)["Body"].read()) == expected
    pods = sent(kubernetes, run_id)
    assert len(pods) == 4
    [first, *_] = airflow.tasks("flights", run_id)
    quota = "The namespace's quota has no room for the pod: next attempt in a minute."
    assert messages(airflow, "flights", run_id, first["task_id"]).count(quota) == 1
    for pod in pods:
        assert [volume["name"] for volume in pod["spec"]["volumes"]] == ["tmp"]
        assert s3.environment["AWS_SECRET_ACCESS_KEY"] not in json.dumps(pod)


def test_failed_node_shows_its_error_in_airflow_and_its_pods_are_removed(airflow, kubernetes):
    run_id = airflow.trigger("pods", {"model_options.test_size": 5.0})
    state, tasks = ended(airflow, "pods", run_id)
    assert (state, tasks["data_science"]) == ("failed", ("failed", 2))
    log = airflow.log("pods", run_id, {"task_id": "data_science", "try_number": 2})
    records = [json.loads(line) for line in log.splitlines()]
    error = "InvalidParameterError: The 'test_size' parameter of train_test_split must be a float"
    assert any(error in record["event"] for record in records)
    [failed] = [record for record in records if record.get("error_detail")]
    assert error in failed["error_detail"][0]["exc_value"].splitlines()[-1]
    pods = {pod["metadata"]["name"] for pod in sent(kubernetes, run_id)}
    assert pods <= set(kubernetes.deleted)


def test_pod_whose_image_does_not_exist_fails_and_says_so(airflow, kubernetes):
    run_id = airflow.trigger("pods-reporting")
    state, tasks = ended(airflow, "pods-reporting", run_id)
    assert (state, tasks["reporting"]) == ("failed", ("failed", 1))
    log = airflow.log("pods-reporting", run_id, {"task_id": "reporting", "try_number": 1})
    assert "ImagePull" in log and "localhost/no-such-image:1.0" in log


def test_run_with_a_pod_of_over_two_minutes_survives_the_api_server_and_the_death_of_its_servers(
    airflow, kubernetes, expected, volume, long_run
):
    """The last test: it leaves Airflow incomplete."""
    run_id, pod, started = long_run
    wait_for(lambda: time.monotonic() > started + 80)
    assert kubernetes.unauthorized == 0
    assert not any(kubernetes.disturbances.values())
    watching = f"dag_id=pods/run_id={run_id}/task_id=data_processing/*.trigger.*.log"
    assert len(list((airflow.home / "logs").glob(watching))) == 1
    with restarted(airflow, kubernetes, "triggerer", "scheduler"):
        wait_for(lambda: len(list((airflow.home / "logs").glob(watching))) == 2)
        wait_for(lambda: time.monotonic() > started + 125)
        kubernetes.send(pod, "CONT")
        state, tasks = ended(airflow, "pods", run_id)
    assert (state, set(tasks.values())) == ("success", {("success", 1)})
    assert len(sent(kubernetes, run_id)) == 4
    assert kubernetes.unauthorized == 0
    found = volume.glob("08_reporting/metrics.json/*/metrics.json")
    assert [json.loads(path.read_text()) for path in found] == [expected] * 2
