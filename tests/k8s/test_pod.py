"""The settings in airflow.yml shape the tasks' pods: pod.py and settings_pods.yml."""

import importlib
import json
import shutil
import subprocess
import sys
from datetime import datetime, timedelta, timezone
from types import SimpleNamespace

import kubernetes_validate
import pytest
import yaml
from airflow.providers.cncf.kubernetes.hooks.kubernetes import KubernetesHook
from airflow.providers.cncf.kubernetes.utils.pod_manager import PodNotFoundException
from airflow.sdk.exceptions import AirflowException, AirflowFailException, TaskDeferred
from hypothesis import given
from hypothesis import strategies as st
from kubernetes.client import ApiClient, ApiException
from structlog.testing import capture_logs

from tests.conftest import ENVIRONMENT, edit, run
from tests.standins.images import K8S, create_project

KUBERNETES = "1.36"
SETTINGS = {
    "image": "registry.example.com/other:1.0",
    "cpu": ["250m", "2"],
    "memory": ["1Gi", "4Gi"],
    "gpu": 1,
    "storage": "data",
    "volume": "flights-data",
    "volumes": {"models": "/mnt/models"},
    "env": {"OMP_NUM_THREADS": "2"},
    "secrets": ["warehouse"],
    "config_maps": ["regions"],
    "node_selector": {"disktype": "ssd"},
    "tolerations": [{"key": "gpu", "operator": "Exists", "effect": "NoSchedule"}],
    "service_account": "trainer",
    "pull_secrets": ["registry"],
    "labels": {"team": "data"},
}
CORES = "an amount like 0.5, 500m or [250m, 2], with the request no higher than the limit"
BYTES = "an amount like 512Mi or [1Gi, 4Gi], with the request no higher than the limit"
VARIABLES = "a mapping of variables, like {OMP_NUM_THREADS: 2}"
VOLUMES = "a mapping of claims to absolute paths, like {models: /mnt/models}"
POD = yaml.safe_load("""
apiVersion: v1
kind: Pod
metadata:
  labels: {app.kubernetes.io/name: pods, team: data}
spec:
  automountServiceAccountToken: false
  restartPolicy: Never
  securityContext:
    runAsUser: 10001
    runAsGroup: 10001
    runAsNonRoot: true
    fsGroup: 10001
    fsGroupChangePolicy: OnRootMismatch
    seccompProfile: {type: RuntimeDefault}
  serviceAccountName: trainer
  imagePullSecrets: [{name: registry}]
  nodeSelector: {disktype: ssd}
  tolerations: [{key: gpu, operator: Exists, effect: NoSchedule}]
  containers:
    - name: base
      image: registry.example.com/other:1.0
      command: [python]
      workingDir: /home/kedro_docker
      env: [{name: OMP_NUM_THREADS, value: "2"}]
      envFrom: [{secretRef: {name: warehouse}}, {configMapRef: {name: regions}}]
      resources:
        requests: {cpu: 250m, memory: 1Gi}
        limits: {cpu: "2", memory: 4Gi, nvidia.com/gpu: "1"}
      securityContext:
        allowPrivilegeEscalation: false
        capabilities: {drop: [ALL]}
        readOnlyRootFilesystem: true
      volumeMounts:
        - {name: tmp, mountPath: /tmp}
        - {name: claim-1, mountPath: /mnt/models}
        - {name: claim-2, mountPath: /home/kedro_docker/data}
  volumes:
    - {name: tmp, emptyDir: {}}
    - {name: claim-1, persistentVolumeClaim: {claimName: models}}
    - {name: claim-2, persistentVolumeClaim: {claimName: flights-data}}
""")


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    return create_project(K8S, "Pods", tmp_path_factory.mktemp("pods"))


@pytest.fixture(scope="module")
def pods(project):
    """The project's module pod.py."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(project / "dags")
        yield importlib.import_module("pods_airflow.pod")


@pytest.fixture(scope="module")
def check(project):
    """The project's check of airflow.yml."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(project / "src")
        yield importlib.import_module("pods.airflow_dag.settings").check


def create(pods, runner="pod", params=(), nodes=(("node", ["a"], ["b"]),), **default_args):
    """A DAG with one task per node, and one that removes intermediate data."""
    Node, Task = pods.dag.Node, pods.dag.Task
    tasks = [Task(f"task_{number}", [Node(*node)]) for number, node in enumerate(nodes)]
    return pods.create_dag(
        "pods",
        package="pods",
        pipeline="__default__",
        env="airflow",
        tasks=[*tasks, Task("remove_intermediate", after=[task.id for task in tasks])],
        default_args=default_args,
        params={name: {"default": None} for name in params},
        runner=runner,
    )


def context(dag, task_id, **params):
    run = SimpleNamespace(run_id="run: 1", run_after=datetime(2024, 1, 31, tzinfo=timezone.utc))
    ti = SimpleNamespace(dag_id=dag.dag_id, task_id=task_id, map_index=-1, try_number=1)
    return {"dag_run": run, "params": params, "ti": ti, "run_id": run.run_id, "dag": dag}


def test_settings_are_put_on_top_of_the_pod_template(pods):
    task = create(pods, **SETTINGS).get_task("task_0")
    assert task.pod("python") == POD
    kubernetes_validate.validate(POD, KUBERNETES, strict=True)


def test_airflow_sends_the_pod_unchanged_with_labels_to_find_it_again(pods, monkeypatch):
    from airflow.providers.cncf.kubernetes.hooks.kubernetes import KubernetesHook
    from kubernetes.client import ApiClient

    monkeypatch.setattr(KubernetesHook, "get_namespace", lambda self: "flights")
    dag = create(pods, **SETTINGS)
    given = context(dag, "task_0")
    operator = dag.get_task("task_0").kubernetes_operator(given)
    sent = operator.build_pod_request_obj(given, dry_run=True)
    pod = ApiClient().sanitize_for_serialization(sent)
    kubernetes_validate.validate(pod, KUBERNETES, strict=True)
    labels = pod["metadata"]["labels"]
    assert (labels["dag_id"], labels["task_id"], labels["team"]) == ("pods", "task_0", "data")
    [container] = pod["spec"]["containers"]
    assert container.pop("terminationMessagePolicy") == "FallbackToLogsOnError"
    assert container.pop("command")[:3] == ["python", "-m", "dags.pods_airflow.run"]
    expected = json.loads(json.dumps(POD["spec"]))
    del expected["containers"][0]["command"]
    sent = {key: value for key, value in pod["spec"].items() if value not in ([], {}, False)}
    sent["containers"] = [{key: value for key, value in container.items() if value != []}]
    assert sent == {key: value for key, value in expected.items() if value is not False}


@pytest.mark.parametrize("keep, action", [(False, "delete_pod"), (True, "delete_succeeded_pod")])
def test_failed_pods_are_kept_if_asked(pods, keep, action):
    timeout = timedelta(minutes=3)
    dag = create(pods, image="x", keep_failed_pods=keep, startup_timeout=timeout)
    operator = dag.get_task("task_0").kubernetes_operator(context(dag, "task_0"))
    assert operator.on_finish_action.value == action
    assert operator.startup_timeout_seconds == operator.schedule_timeout_seconds == 180
    assert operator.deferrable


@pytest.mark.parametrize("kubeconfig", [None, "/kubeconfig"])
@pytest.mark.parametrize("in_a_pod", [False, True])
def test_cluster_is_the_one_in_kubeconfig_or_the_one_airflow_runs_in(
    pods, monkeypatch, tmp_path, kubeconfig, in_a_pod
):
    dag = create(pods, image="x")
    if in_a_pod:
        (tmp_path / "token").touch()
    monkeypatch.setattr(pods, "SERVICE_ACCOUNT_TOKEN", tmp_path / "token")
    monkeypatch.delenv("KUBECONFIG", raising=False)
    if kubeconfig:
        monkeypatch.setenv("KUBECONFIG", kubeconfig)
    operator = dag.get_task("task_0").kubernetes_operator(context(dag, "task_0"))
    assert operator.in_cluster is (in_a_pod and not kubeconfig)
    assert operator.config_file == kubeconfig


class Cluster:
    """The part of the Kubernetes client that Airflow's operator uses at the end of a pod."""

    def __init__(self, pod=None, events=()):
        self.api_client, self.pod, self.events, self.removed = ApiClient(), pod, events, []

    def made(self, kind, **fields):
        response = SimpleNamespace(data=json.dumps(fields))
        return self.api_client.deserialize(response, kind)

    def read_namespaced_pod(self, name, namespace):
        if self.pod is None:
            raise ApiException(404, "Not Found")
        return self.made("V1Pod", **self.pod)

    def read_namespaced_pod_log(self, **_):
        return [b"the output\n"]

    def list_namespaced_event(self, **_):
        metadata = {"name": "pod.1", "namespace": "default"}
        involved = {"kind": "Pod", "name": "pod"}
        events = [
            {**each, "metadata": metadata, "involvedObject": involved} for each in self.events
        ]
        return self.made("CoreV1EventList", items=events)

    def patch_namespaced_pod(self, **_):
        """Mark the pod as seen."""

    def delete_namespaced_pod(self, name, *_, **__):
        self.removed.append(name)


def ended_pod(deleted=False, disruption=None, code=137, cause="Error", words=None, **status):
    """A pod that has failed, as a kubelet reports it."""
    times = {"startedAt": "2024-01-01T00:00:00Z", "finishedAt": "2024-01-01T00:01:00Z"}
    ended = {"exitCode": code, "reason": cause, "message": words, **times}
    container = {"name": "base", "image": "x", "imageID": "", "ready": False, "restartCount": 0}
    conditions = [{"type": "PodScheduled", "status": "True"}]
    if disruption:
        reason, text = disruption
        found = {"type": "DisruptionTarget", "status": "True", "reason": reason, "message": text}
        conditions.append(found)
    metadata = {"name": "pod", "namespace": "default"}
    if deleted:
        metadata["deletionTimestamp"] = "2024-01-01T00:01:00Z"
    spec = {"containers": [{"name": "base", "image": "x"}]}
    status |= {"phase": "Failed", "conditions": conditions}
    status["containerStatuses"] = [{**container, "state": {"terminated": ended}}]
    return {"metadata": metadata, "spec": spec, "status": status}


def end(pods, monkeypatch, cluster, status="failed"):
    """Let a task come back from the triggerer to a pod that failed.

    Returns:
        What it logs, and the exception that it raises.
    """
    monkeypatch.setattr(KubernetesHook, "core_v1_client", cluster)
    dag = create(pods, image="x")
    task = dag.get_task("task_0")
    event = {"name": "pod", "namespace": "default", "status": status, "message": "it failed"}
    with capture_logs() as logs, pytest.raises(AirflowException) as raised:
        task.trigger_reentry(context(dag, "task_0"), event)
    return [each["event"] for each in logs if each["log_level"] == "error"], raised.value


LOW = (
    "The node was low on resource: memory. Threshold quantity: 100Mi, available: 91436Ki. "
    "Container base was using 1843Mi, request is 1Gi, has larger consumption of memory."
)
FULL = 'Usage of EmptyDir volume "tmp" exceeds the limit "1Gi".'
SHUT = "Pod was terminated in response to imminent node shutdown."
PREEMPTED = "default-scheduler: preempting to accommodate a higher priority pod"
TAINTED = "Taint manager: deleting due to NoExecute taint"
MEMORY = (
    "The pod needed more memory than its limit: raise `memory` in conf/airflow/airflow.yml, then "
    "`make dag`."
)


@pytest.mark.parametrize(
    "pod, sentence",
    [
        (
            {"reason": "Evicted", "message": LOW, "disruption": ("TerminationByKubelet", LOW)},
            f"Kubernetes ended the pod (Evicted): {LOW}",
        ),
        (
            {"reason": "Evicted", "message": FULL, "cause": "ContainerStatusUnknown"},
            f"Kubernetes ended the pod (Evicted): {FULL}",
        ),
        (
            {"reason": "Terminated", "message": SHUT, "disruption": ("TerminationByKubelet", SHUT)},
            f"Kubernetes ended the pod (Terminated): {SHUT}",
        ),
        (
            {"deleted": True, "disruption": ("EvictionByEvictionAPI", "Eviction API: evicting")},
            "Kubernetes ended the pod (EvictionByEvictionAPI): Eviction API: evicting",
        ),
        (
            {"deleted": True, "disruption": ("PreemptionByScheduler", PREEMPTED)},
            f"Kubernetes ended the pod (PreemptionByScheduler): {PREEMPTED}",
        ),
        (
            {"deleted": True, "disruption": ("DeletionByTaintManager", TAINTED)},
            f"Kubernetes ended the pod (DeletionByTaintManager): {TAINTED}",
        ),
        ({"deleted": True, "code": 143}, "The pod was deleted before it was done."),
        ({"cause": "OOMKilled"}, MEMORY),
    ],
)
def test_log_says_why_kubernetes_ended_the_pod(pods, monkeypatch, pod, sentence):
    cluster = Cluster(ended_pod(**pod))
    messages, _ = end(pods, monkeypatch, cluster)
    assert messages[-1] == sentence
    assert cluster.removed == ["pod"]


def test_pod_that_failed_by_itself_says_why_in_its_own_words(pods, monkeypatch):
    words = "OSError: [Errno 28] No space left on device: 'data/06_models/regressor.pickle'"
    messages, error = end(pods, monkeypatch, Cluster(ended_pod(code=1, words=words)))
    assert str(error) == f"Pod pod returned a failure.\n{words}"
    assert not [each for each in messages if each.startswith(("Kubernetes", "The pod"))]


def test_log_says_what_happened_last_to_a_pod_that_is_gone(pods, monkeypatch):
    events = [
        {"reason": "Started", "message": "Started container base"},
        {"reason": "Preempted", "message": "Preempted by pod 6f1c on node node-1"},
        {"reason": "Killing", "message": "Stopping container base"},
    ]
    messages, error = end(pods, monkeypatch, Cluster(events=events), status="error")
    assert messages == [
        "The pod was deleted before it was done. Its last events: Preempted (Preempted by pod 6f1c "
        "on node node-1), Killing (Stopping container base)"
    ]
    assert isinstance(error, PodNotFoundException)


@pytest.mark.parametrize("trouble", [429, 500])
def test_pod_that_cannot_be_read_at_once_is_read_again(pods, monkeypatch, trouble):
    cluster, asked = Cluster(ended_pod(cause="OOMKilled")), []

    def read_namespaced_pod(name, namespace):
        asked.append(name)
        if len(asked) == 1:
            raise ApiException(trouble)
        return cluster.made("V1Pod", **cluster.pod)

    cluster.read_namespaced_pod = read_namespaced_pod
    monkeypatch.setattr("tenacity.nap.time.sleep", lambda seconds: None)
    messages, _ = end(pods, monkeypatch, cluster)
    assert messages[-1] == MEMORY


QUOTA = (
    'pods "pod" is forbidden: exceeded quota: airflow, requested: requests.memory=1Gi, used: '
    "requests.memory=32Gi, limited: requests.memory=32Gi"
)


def start(pods, monkeypatch, refusal, minutes_ago):
    """Let a task start a pod that is refused, some time after the task's start."""

    def create_namespaced_pod(**_):
        error = ApiException(403, "Forbidden")
        error.body = json.dumps({"message": refusal})
        raise error

    cluster = Cluster()
    cluster.create_namespaced_pod = create_namespaced_pod
    cluster.list_namespaced_pod = lambda **_: cluster.made("V1PodList", items=[])
    monkeypatch.setattr(KubernetesHook, "core_v1_client", cluster)
    monkeypatch.setattr(KubernetesHook, "get_namespace", lambda self: "default")
    monkeypatch.setattr(KubernetesHook, "is_in_cluster", True)
    dag = create(pods, image="x")
    given = context(dag, "task_0")
    given["ti"].start_date = datetime.now(timezone.utc) - timedelta(minutes=minutes_ago)
    type(dag.get_task("task_0")).execute.__wrapped__(dag.get_task("task_0"), given)


def test_pod_that_finds_no_room_in_the_quota_is_started_a_minute_later(pods, monkeypatch):
    with pytest.raises(TaskDeferred) as deferred:
        start(pods, monkeypatch, QUOTA, minutes_ago=9)
    wait = deferred.value.trigger.moment - datetime.now(timezone.utc)
    assert timedelta(seconds=50) < wait <= timedelta(minutes=1)
    assert deferred.value.method_name == "execute"


@pytest.mark.parametrize("refusal, minutes_ago", [(QUOTA, 10), ("cannot create pods", 0)])
def test_pod_that_is_refused_for_longer_or_for_good_fails_its_task(
    pods, monkeypatch, refusal, minutes_ago
):
    with pytest.raises(ApiException) as raised:
        start(pods, monkeypatch, refusal, minutes_ago)
    assert json.loads(raised.value.body) == {"message": refusal}


@pytest.mark.parametrize("storage", ["s3://bucket/flights", "gs://bucket", "abfs://container/x"])
def test_no_volume_is_mounted_for_data_at_a_url(pods, storage):
    dag = create(pods, image="x", storage=storage, volume="flights-data")
    spec = dag.get_task("task_0").pod()["spec"]
    assert [volume["name"] for volume in spec["volumes"]] == ["tmp"]
    assert spec["containers"][0]["volumeMounts"] == [{"name": "tmp", "mountPath": "/tmp"}]


def test_image_is_the_projects_unless_the_task_has_one(pods, monkeypatch):
    monkeypatch.setenv("KEDRO_IMAGE", "registry.example.com/pods@sha256:1")
    task = create(pods).get_task("task_0")
    assert task.pod()["spec"]["containers"][0]["image"] == "registry.example.com/pods@sha256:1"
    monkeypatch.delenv("KEDRO_IMAGE")
    with pytest.raises(AirflowFailException, match="^The pod has no image: set KEDRO_IMAGE "):
        task.pod()


@given(
    st.lists(st.text(min_size=1), min_size=1, max_size=3, unique=True),
    st.dictionaries(
        st.text(st.sampled_from("ab"), min_size=1),
        st.sampled_from(["$(HOME)", "$$(HOME)"]) | st.text() | st.floats(-1, 1),
    ),
)
def test_pod_does_what_the_task_itself_would_do(pods, names, params):
    nodes = [(name, [name, "params:x"], [f"{name}@pandas"]) for name in names]
    dag = create(pods, nodes=nodes, params=params, image="x")
    for task in dag.tasks:
        given = context(dag, task.task_id, **params)
        [container] = task.kubernetes_operator(given).pod_template_dict["spec"]["containers"]
        *command, work = container["command"]
        assert command == ["python", "-m", "dags.pods_airflow.run"]
        assert "$" not in work  # Kubernetes would insert the pod's variables
        assert pods.dag.Run.from_json(work) == task.run_in(given)


def test_kubernetes_executor_gets_the_pod_of_a_task(pods, monkeypatch):
    from kubernetes.client import ApiClient

    monkeypatch.setenv("AIRFLOW__CORE__EXECUTOR", "LocalExecutor,KubernetesExecutor")
    task = create(pods, runner="executor", **SETTINGS).get_task("task_0")
    pod = ApiClient().sanitize_for_serialization(task.executor_config["pod_override"])
    expected = json.loads(json.dumps(POD))
    del expected["spec"]["containers"][0]["command"]
    assert pod == expected


def test_pod_of_kubernetes_executor_imports_nothing_to_describe_itself(pods, monkeypatch):
    monkeypatch.setenv("AIRFLOW__CORE__EXECUTOR", "KubernetesExecutor")
    monkeypatch.setenv("AIRFLOW_IS_K8S_EXECUTOR_POD", "True")
    task = create(pods, runner="executor").get_task("task_0")
    assert not task.executor_config


def test_other_executors_run_the_task_themselves(pods, monkeypatch):
    monkeypatch.setenv("KEDRO_RUNNER", "executor")
    monkeypatch.setenv("AIRFLOW__CORE__EXECUTOR", "LocalExecutor")
    task = create(pods, runner="pod").get_task("task_0")
    assert type(task).__name__ == "ExecutorOperator"
    assert not task.executor_config


@pytest.mark.slow
@pytest.mark.parametrize("runner", ["pod", "executor"])
def test_reading_the_dag_imports_nothing_of_kubernetes(project, runner):
    code = "import runpy, sys; runpy.run_path(sys.argv[1]); print(*sys.modules)"
    environment = ENVIRONMENT | {"KEDRO_RUNNER": runner}
    command = [sys.executable, "-c", code, project / "dags/pods_airflow_dag.py"]
    modules = run(*command, cwd=project, env=environment).stdout.split()
    assert "pods_airflow.pod" in modules
    assert not [name for name in modules if name.startswith(("kubernetes", "kedro."))]


@pytest.mark.parametrize(
    "key, value, expected",
    [
        ("cpu", 1, ["1"]),
        ("cpu", 0.5, ["0.5"]),
        ("cpu", ["250m", 2], ["250m", "2"]),
        ("memory", "512Mi", ["512Mi"]),
        ("memory", ["1Gi", "4G"], ["1Gi", "4G"]),
        ("gpu", 2, 2),
        (
            "image",
            "registry.example.com:5000/a/b@sha256:0f",
            "registry.example.com:5000/a/b@sha256:0f",
        ),
        ("env", {"A": 1, "B": "x y"}, {"A": "1", "B": "x y"}),
        ("labels", {"example.com/team": "data"}, {"example.com/team": "data"}),
        ("startup_timeout", "10m", timedelta(minutes=10)),
    ],
)
def test_setting_of_a_pod_is_accepted(check, key, value, expected):
    assert check({"default": {key: value}}, {}, {}).task == {key: expected}


@pytest.mark.parametrize(
    "key, value, message",
    [
        ("runner", "pods", "'pods' is not one of pod, executor"),
        ("cpu", "two", f"'two' is not {CORES}"),
        ("cpu", 0, f"0 is not {CORES}"),
        ("cpu", [2, 1], f"[2, 1] is not {CORES}"),
        ("cpu", True, f"True is not {CORES}"),
        ("memory", "1GB", f"'1GB' is not {BYTES}"),
        ("memory", "512m", f"'512m' is not {BYTES}"),
        ("memory", 512, f"512 is not {BYTES}"),
        ("gpu", "1", "'1' is not a whole number from 0 to 1000000"),
        ("image", "My Image", "'My Image' is not an image like registry.example.com/name:1.0"),
        ("cpu", "1.0001", f"'1.0001' is not {CORES}"),
        ("memory", "1000000000000Ti", f"'1000000000000Ti' is not {BYTES}"),
        ("volumes", {"models": "mnt"}, f"{{'models': 'mnt'}} is not {VOLUMES}"),
        ("volumes", {"models": "/a:b"}, f"{{'models': '/a:b'}} is not {VOLUMES}"),
        ("env", {"A-B": "1"}, f"{{'A-B': '1'}} is not {VARIABLES}"),
        ("env", ["A=1"], f"['A=1'] is not {VARIABLES}"),
        ("env", {"A": True}, f"{{'A': True}} is not {VARIABLES}"),
        ("secrets", "warehouse", "'warehouse' is not a list of names of Kubernetes objects"),
        ("secrets", ["my_secret"], "['my_secret'] is not a list of names of Kubernetes objects"),
        (
            "labels",
            {"team": "a b"},
            "{'team': 'a b'} is not a mapping of labels, like {disktype: ssd}",
        ),
        (
            "tolerations",
            [{"kye": "gpu"}],
            "[{'kye': 'gpu'}] is not a list of tolerations like {key: gpu, operator: Exists}",
        ),
        ("keep_failed_pods", "yes", "'yes' is not true or false"),
    ],
)
def test_wrong_setting_of_a_pod_is_refused(check, key, value, message):
    with pytest.raises(ValueError) as refused:
        check({"default": {key: value}}, {}, {})
    assert str(refused.value) == f"default: {key}: {message}"


@pytest.mark.slow
@pytest.mark.parametrize(
    "line, message",
    [
        ("  group_by: none\n", "found duplicate key group_by"),
        ("default: [", "expected the node content, but found '<stream end>'"),
    ],
)
def test_invalid_yaml_is_refused_with_its_location(project, forks, line, message):
    settings = project / "conf" / "airflow" / "airflow.yml"
    before = settings.read_text()
    try:
        settings.write_text(before + line)
        refused = forks.run("kedro", "airflow", "create", cwd=project, check=False)
    finally:
        settings.write_text(before)
    assert "Traceback" not in refused.stderr and "\nError: " in f"\n{refused.stderr}"
    assert message in refused.stderr and "line " in refused.stderr


TASKS = """
  env: {B: 2}
  tasks:
    train_model_node: {memory: [2Gi, 8Gi], gpu: 1}
    pipeline:reporting: {cpu: 100m, node_selector: {disktype: ssd}}
    tag:big: {env: {A: 1}}
    namespace:europe: {service_account: reader}
"""


@pytest.mark.slow
def test_settings_reach_the_tasks_of_a_node_pipeline_tag_or_namespace(project, forks, tmp_path):
    settings = project / "conf" / "airflow" / "airflow.yml"
    before = settings.read_text()
    [pipeline] = project.glob("src/*/pipelines/data_processing/pipeline.py")
    source = pipeline.read_text()
    command = ["kedro", "airflow", "create", f"--target-dir={tmp_path / 'dags'}"]
    try:
        settings.write_text(before.replace("group_by: pipeline", "group_by: none") + TASKS)
        name = 'name="preprocess_shuttles_node"'
        edit(pipeline, name, f'{name}, tags="big", namespace="europe"')
        forks.run(*command, cwd=project)
        shutil.copytree(
            project / "dags",
            tmp_path / "dags",
            dirs_exist_ok=True,
            ignore=lambda *_: {"pods_airflow_dag.py"},
        )
        code = (
            "import json, runpy, sys; tasks = runpy.run_path(sys.argv[1])['dag'].tasks; "
            "print(json.dumps({task.task_id: task.pod()['spec'] for task in tasks}))"
        )
        environment = ENVIRONMENT | {"KEDRO_IMAGE": "x"}
        done = subprocess.run(
            [sys.executable, "-c", code, tmp_path / "dags" / "pods_airflow_dag.py"],
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
        assert forks.run(*command, cwd=project, check=False).returncode == 0
        settings.write_text(before + TASKS.replace("train_model_node", "train_model_nod"))
        refused = forks.run(*command, cwd=project, check=False)
    finally:
        settings.write_text(before)
        pipeline.write_text(source)
    specs = json.loads(done.stdout.splitlines()[-1])
    resources = {task: spec["containers"][0]["resources"] for task, spec in specs.items()}
    default = {
        "requests": {"cpu": "250m", "memory": "1Gi"},
        "limits": {"cpu": "2", "memory": "1Gi"},
    }
    small = {"cpu": "100m", "memory": "1Gi"}
    reporting = {task for task, spec in specs.items() if "nodeSelector" in spec}
    assert resources.pop("train_model_node") == {
        "requests": {"cpu": "250m", "memory": "2Gi"},
        "limits": {"cpu": "2", "memory": "8Gi", "nvidia.com/gpu": "1"},
    }
    assert len(reporting) == 3
    assert [resources.pop(task) for task in reporting] == [{"requests": small, "limits": small}] * 3
    assert all(found == default for found in resources.values())
    [europe] = [task for task, spec in specs.items() if "serviceAccountName" in spec]
    assert europe == "europe.preprocess_shuttles_node"
    assert specs[europe]["containers"][0]["env"] == [{"name": "A", "value": "1"}]
    assert refused.returncode == 1
    assert refused.stderr.splitlines()[-1] == (
        "Error: conf/airflow/airflow.yml: default: tasks: train_model_nod: matches no node; "
        "did you mean train_model_node?"
    )
