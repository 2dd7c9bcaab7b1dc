"""The settings of airflow.yml become the pods of tasks: dags/kedro_pod.py and its validation."""

import importlib.util
import json
import subprocess
import sys
from datetime import datetime, timedelta, timezone
from types import SimpleNamespace

import kubernetes_validate
import pytest
import yaml
from airflow.sdk.exceptions import AirflowFailException
from hypothesis import given
from hypothesis import strategies as st

from tests.conftest import ENVIRONMENT, ROOT, edit, run
from tests.standins.images import K8S, create_project

STARTER = ROOT / "starters" / K8S
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
def kedro_dag(project):
    spec = importlib.util.spec_from_file_location("pods_kedro_dag", project / "dags/kedro_dag.py")
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def settings():
    source = STARTER / "{{ cookiecutter.repo_name }}/src/{{ cookiecutter.python_package }}"
    spec = importlib.util.spec_from_file_location("settings", source / "airflow_settings.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def create(
    kedro_dag, project, nodes=(("node", ["a"], ["b"]),), runner="pod", params=(), **task_settings
):
    return kedro_dag.create_dag(
        dag_file=str(project / "dags" / "x.py"),
        package_name="pods",
        pipeline_name="__default__",
        env="airflow",
        dag_settings={"schedule": None, "runner": runner, "keep_intermediate": False},
        task_settings=task_settings,
        tasks={},
        form={name: {"default": None} for name in params},
        nodes=[kedro_dag.Node(*node) for node in nodes],
    )


def context(kedro_dag, dag, task_id, **params):
    run = SimpleNamespace(run_id="run: 1", run_after=datetime(2024, 1, 31, tzinfo=timezone.utc))
    ti = SimpleNamespace(dag_id=dag.dag_id, task_id=task_id, map_index=-1, try_number=1)
    return {"dag_run": run, "params": params, "ti": ti, "run_id": run.run_id, "dag": dag}


def test_settings_are_put_on_top_of_the_pod_template(kedro_dag, project):
    task = create(kedro_dag, project, **SETTINGS).get_task("node")
    assert task.pod("python") == POD
    kubernetes_validate.validate(POD, KUBERNETES, strict=True)


def test_airflow_sends_the_pod_as_it_is_with_labels_to_find_it_again(
    kedro_dag, project, monkeypatch
):
    from airflow.providers.cncf.kubernetes.hooks.kubernetes import KubernetesHook
    from kubernetes.client import ApiClient

    monkeypatch.setattr(KubernetesHook, "get_namespace", lambda self: "flights")
    dag = create(kedro_dag, project, **SETTINGS)
    given = context(kedro_dag, dag, "node")
    operator = dag.get_task("node").kubernetes_operator(given)
    sent = operator.build_pod_request_obj(given, dry_run=True)
    pod = ApiClient().sanitize_for_serialization(sent)
    kubernetes_validate.validate(pod, KUBERNETES, strict=True)
    labels = pod["metadata"]["labels"]
    assert (labels["dag_id"], labels["task_id"], labels["team"]) == ("pods", "node", "data")
    [container] = pod["spec"]["containers"]
    assert container.pop("terminationMessagePolicy") == "FallbackToLogsOnError"
    assert container.pop("command")[:3] == ["python", "dags/run_in_pod.py", "run_nodes"]
    expected = json.loads(json.dumps(POD["spec"]))
    del expected["containers"][0]["command"]
    sent = {key: value for key, value in pod["spec"].items() if value not in ([], {}, False)}
    sent["containers"] = [{key: value for key, value in container.items() if value != []}]
    assert sent == {key: value for key, value in expected.items() if value is not False}


@pytest.mark.parametrize("keep, action", [(False, "delete_pod"), (True, "delete_succeeded_pod")])
def test_pods_that_have_failed_are_kept_if_asked(kedro_dag, project, keep, action):
    timeout = timedelta(minutes=3)
    dag = create(kedro_dag, project, image="x", keep_failed_pods=keep, startup_timeout=timeout)
    operator = dag.get_task("node").kubernetes_operator(context(kedro_dag, dag, "node"))
    assert operator.on_finish_action.value == action
    assert operator.startup_timeout_seconds == operator.schedule_timeout_seconds == 180
    assert operator.deferrable


@pytest.mark.parametrize("kubeconfig", [None, "/kubeconfig"])
@pytest.mark.parametrize("in_a_pod", [False, True])
def test_cluster_is_that_of_kubeconfig_or_the_one_that_airflow_is_in(
    kedro_dag, project, monkeypatch, tmp_path, kubeconfig, in_a_pod
):
    dag = create(kedro_dag, project, image="x")
    if in_a_pod:
        (tmp_path / "token").touch()
    kedro_pod = kedro_dag.load_sibling("kedro_pod")
    monkeypatch.setattr(kedro_pod, "SERVICE_ACCOUNT_TOKEN", tmp_path / "token")
    monkeypatch.delenv("KUBECONFIG", raising=False)
    if kubeconfig:
        monkeypatch.setenv("KUBECONFIG", kubeconfig)
    operator = dag.get_task("node").kubernetes_operator(context(kedro_dag, dag, "node"))
    assert operator.in_cluster is (in_a_pod and not kubeconfig)
    assert operator.config_file == kubeconfig


@pytest.mark.parametrize("storage", ["s3://bucket/flights", "gs://bucket", "abfs://container/x"])
def test_no_volume_is_mounted_for_data_at_a_url(kedro_dag, project, storage):
    dag = create(kedro_dag, project, image="x", storage=storage, volume="flights-data")
    spec = dag.get_task("node").pod()["spec"]
    assert [volume["name"] for volume in spec["volumes"]] == ["tmp"]
    assert spec["containers"][0]["volumeMounts"] == [{"name": "tmp", "mountPath": "/tmp"}]


def test_image_is_the_projects_unless_the_task_has_one(kedro_dag, project, monkeypatch):
    monkeypatch.setenv("KEDRO_IMAGE", "registry.example.com/pods@sha256:1")
    task = create(kedro_dag, project).get_task("node")
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
def test_pod_does_what_the_task_would_do_itself(kedro_dag, project, names, params):
    nodes = [(name, [name, "params:x"], [f"{name}@pandas"]) for name in names]
    nodes.append(("other", [], ["unrelated"]))
    dag = create(kedro_dag, project, nodes, params=params, image="x")
    task = dag.tasks[0]
    given = context(kedro_dag, dag, task.task_id, **params)
    function, expected = task.work(given)
    assert function == "run_nodes"
    asked, arguments = task.arguments(given)
    assert asked == function
    assert "$" not in arguments  # Kubernetes would put the pod's variables there
    found = json.loads(arguments)
    assert found["parameters"] == expected["parameters"]
    assert found["version"] == expected["version"]
    fields = ("name", "inputs", "outputs", "pipeline")
    assert found["nodes"] == [{f: getattr(node, f) for f in fields} for node in expected["nodes"]]
    assert found["pipeline"] == {
        "package": "pods",
        "name": "__default__",
        "env": "airflow",
        "outputs": [f"{names[0]}@pandas"],
    }


def test_intermediate_data_is_removed_by_a_pod_too(kedro_dag, project):
    dag = create(kedro_dag, project, image="x")
    function, arguments = dag.get_task("remove_intermediate").arguments(
        context(kedro_dag, dag, "remove_intermediate")
    )
    assert function == "remove_intermediate"
    assert json.loads(arguments)["pipeline"]["outputs"] == ["b"]
    assert json.loads(arguments)["parameters"]["airflow"]["folder"] == "run%3A%201"


def test_kubernetes_executor_gets_the_pod_of_a_task(kedro_dag, project, monkeypatch):
    from kubernetes.client import ApiClient

    monkeypatch.setenv("AIRFLOW__CORE__EXECUTOR", "LocalExecutor,KubernetesExecutor")
    task = create(kedro_dag, project, runner="executor", **SETTINGS).get_task("node")
    pod = ApiClient().sanitize_for_serialization(task.executor_config["pod_override"])
    expected = json.loads(json.dumps(POD))
    del expected["spec"]["containers"][0]["command"]
    assert pod == expected


def test_pod_of_kubernetes_executor_imports_nothing_to_describe_itself(
    kedro_dag, project, monkeypatch
):
    monkeypatch.setenv("AIRFLOW__CORE__EXECUTOR", "KubernetesExecutor")
    monkeypatch.setenv("AIRFLOW_IS_K8S_EXECUTOR_POD", "True")
    task = create(kedro_dag, project, runner="executor").get_task("node")
    assert not task.executor_config


def test_other_executors_run_the_task_themselves(kedro_dag, project, monkeypatch):
    monkeypatch.setenv("KEDRO_RUNNER", "executor")
    monkeypatch.setenv("AIRFLOW__CORE__EXECUTOR", "LocalExecutor")
    task = create(kedro_dag, project, runner="pod").get_task("node")
    assert type(task).__name__ == "ExecutorOperator"
    assert not task.executor_config


@pytest.mark.parametrize("runner", ["pod", "executor"])
def test_reading_the_dag_imports_nothing_of_kubernetes(project, runner):
    code = "import runpy, sys; runpy.run_path(sys.argv[1]); print(*sys.modules)"
    environment = ENVIRONMENT | {"KEDRO_RUNNER": runner}
    command = [sys.executable, "-c", code, project / "dags/pods_airflow_dag.py"]
    modules = run(*command, cwd=project, env=environment).stdout.split()
    assert "pods_kedro_pod" in modules
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
def test_setting_of_a_pod_is_accepted(settings, key, value, expected):
    config = {"default": {key: value}}
    assert settings.check(config, "x", {}, [], {})["task"] == {key: expected}


@pytest.mark.parametrize(
    "key, value, message",
    [
        ("runner", "pods", "'pods' is not pod or executor"),
        ("cpu", "two", "'two' is not an amount such as 0.5, 500m or [250m, 2]"),
        ("cpu", 0, "0 is not more than 0, and the request at most the limit"),
        ("cpu", [2, 1], "[2, 1] is not more than 0, and the request at most the limit"),
        ("cpu", True, "True is not an amount such as 0.5, 500m or [250m, 2]"),
        ("memory", "1GB", "'1GB' is not an amount such as 512Mi or [1Gi, 4Gi]"),
        ("memory", "512m", "'512m' is not an amount such as 512Mi or [1Gi, 4Gi]"),
        ("memory", 512, "512 is not an amount such as 512Mi or [1Gi, 4Gi]"),
        ("gpu", "1", "'1' is not a whole number from 0"),
        ("image", "My Image", "'My Image' is not an image such as registry.example.com/name:1.0"),
        ("volumes", {"models": "mnt"}, "{'models': 'mnt'} is not an absolute path"),
        ("env", {"A-B": "1"}, "{'A-B': '1'} is not the name of a variable"),
        ("env", ["A=1"], "['A=1'] is not a mapping"),
        ("env", {"A": True}, "{'A': True} is not a text or a number"),
        ("secrets", "warehouse", "'warehouse' is not a list"),
        ("secrets", ["my_secret"], "['my_secret'] is not a name of Kubernetes' objects"),
        ("labels", {"team": "a b"}, "{'team': 'a b'} is not the value of a label"),
        (
            "tolerations",
            [{"kye": "gpu"}],
            "[{'kye': 'gpu'}] is not a toleration such as {key: gpu, operator: Exists}",
        ),
        ("keep_failed_pods", "yes", "'yes' is not true or false"),
    ],
)
def test_wrong_setting_of_a_pod_is_refused(settings, key, value, message):
    with pytest.raises(ValueError) as refused:
        settings.check({"default": {key: value}}, "x", {}, [], {})
    assert str(refused.value) == f"default: {key}: {message}"


@pytest.mark.slow
@pytest.mark.parametrize(
    "line, message",
    [
        ("  group_by: none\n", "found duplicate key group_by"),
        ("default: [", "Invalid YAML or JSON file "),
    ],
)
def test_what_is_no_yaml_is_refused_with_its_place(project, line, message):
    settings = project / "conf" / "airflow" / "airflow.yml"
    before = settings.read_text()
    try:
        settings.write_text(before + line)
        refused = run("make", "dag", cwd=project, check=False)
    finally:
        settings.write_text(before)
    assert "Traceback" not in refused.stderr and "\nError: " in f"\n{refused.stderr}"
    assert message in refused.stderr and "line " in refused.stderr


TASKS = """
  tasks:
    train_model_node: {memory: [2Gi, 8Gi], gpu: 1}
    pipeline:reporting: {cpu: 100m, node_selector: {disktype: ssd}}
    tag:big: {env: {A: 1}}
    namespace:europe: {service_account: reader}
"""


@pytest.mark.slow
def test_settings_reach_the_tasks_of_a_node_pipeline_tag_or_namespace(project, tmp_path):
    settings = project / "conf" / "airflow" / "airflow.yml"
    before = settings.read_text()
    [pipeline] = project.glob("src/*/pipelines/data_processing/pipeline.py")
    source = pipeline.read_text()
    command = ["kedro", "airflow", "create", "--env=airflow", f"--target-dir={tmp_path}"]
    command += ["--jinja-file=conf/airflow/dag.py.j2"]
    try:
        settings.write_text(before.replace("group_by: pipeline", "group_by: none") + TASKS)
        name = 'name="preprocess_shuttles_node"'
        edit(pipeline, name, f'{name}, tags="big", namespace="europe"')
        run(*command, cwd=project)
        for file in ("kedro_dag.py", "kedro_pod.py", "pod.yaml"):
            (tmp_path / file).write_text((project / "dags" / file).read_text())
        code = (
            "import json, runpy, sys; tasks = runpy.run_path(sys.argv[1])['dag'].tasks; "
            "print(json.dumps({task.task_id: task.pod()['spec'] for task in tasks}))"
        )
        environment = ENVIRONMENT | {"KEDRO_IMAGE": "x"}
        done = subprocess.run(
            [sys.executable, "-c", code, tmp_path / "pods_airflow_dag.py"],
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
        assert run(*command, cwd=project, check=False).returncode == 0
        settings.write_text(before + TASKS.replace("train_model_node", "train_model_nod"))
        refused = run(*command, cwd=project, check=False)
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
        "Error: conf/airflow/airflow.yml: default: tasks: train_model_nod: no node is chosen; "
        "did you mean train_model_node?"
    )
