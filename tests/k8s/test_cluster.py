"""What the Makefile's verbs and the workflow of a project for Kubernetes do.

No cluster or registry can run here: kind, minikube, docker, podman, kubectl and helm are a script
that records its calls. Airflow is real, and the script reaches it like kubectl port-forward.
"""

import base64
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from functools import partial
from pathlib import Path

import httpx
import jinja2
import pytest
import yaml

from compose import PROJECT, compose
from local_airflow import LocalAirflow
from tests.conftest import BIN, ENVIRONMENT, ROOT, answers, edit, run
from tests.forks import Forks
from tests.k8s.test_helm import KUBERNETES

pytestmark = pytest.mark.slow
TOOLS = ("docker", "helm", "kind", "kubectl", "minikube", "podman")
IDS = {"space-flights": "a" * 64, "space-flights-airflow": "b" * 64}
LOADED = {name: f"{name}:{digits[:12]}" for name, digits in IDS.items()}
DIGEST = "sha256:" + "d" * 64
REGISTRY = "registry.example.com/team"
PUSHED = [f"{REGISTRY}/{name}@{DIGEST}" for name in IDS]
LABELS = {"kedro.runners": "pod", "kedro.storage": "data"}
PASSWORD = "the-password-of-admin"
VALUES = "-f deploy/values.yaml -f deploy/overlays/laptop.yaml"
CHART = "airflow --repo https://airflow.apache.org --version 1.22.0"
KUBECTL = "kubectl --context kind-space-flights --namespace airflow"
HELM = "helm --kube-context kind-space-flights --namespace airflow"
PARSE = "create --dry-run=client --validate=false --filename=- --output=jsonpath={@}{'\\n'}"
STATEFUL = "get statefulsets --selector=release=space-flights --output=json"
JOBS = "delete job space-flights-run-airflow-migrations space-flights-create-user"

TOOL = """\
#!{python} -S
import json, os, re, sys, time

def write(name, text, mode="w"):
    with open(os.path.join({folder!r}, name), mode) as file:
        file.write(text)

def read(name):
    with open(os.path.join({folder!r}, name)) as file:
        return file.read()

write("provider", os.environ.get("KIND_EXPERIMENTAL_PROVIDER", ""))
call = " ".join([os.path.basename(sys.argv[0]), *sys.argv[1:]])
given = ""
if "exec" in sys.argv:
    write("received.tar", sys.stdin.buffer.read(), "wb")
elif "-" in sys.argv:
    given = sys.stdin.read()
write("calls", json.dumps([call, given]) + "\\n", "a")
if "port-forward" in sys.argv:
    import socket, threading
    write("forwarding", str(os.getpid()))
    here = int(sys.argv[-1].split(":")[0])
    host, _, there = read("port").rpartition(":")
    server = socket.create_server(("127.0.0.1", here))

    def copy(one, other):
        while block := one.recv(65536):
            other.sendall(block)
        other.close()

    while True:
        client, _ = server.accept()
        airflow = socket.create_connection((host or "127.0.0.1", int(there)))
        for pair in ((client, airflow), (airflow, client)):
            threading.Thread(target=copy, args=pair, daemon=True).start()
if "--digestfile" in sys.argv:
    write(sys.argv[sys.argv.index("--digestfile") + 1], {digest!r})
for pattern, output, code, error in json.loads(read("answers")):
    if re.search(pattern, call):
        time.sleep(0.5 if " upgrade " in call else 0)
        print(output)
        print(error, file=sys.stderr)
        sys.exit(code)
"""


class Tools:
    """The tools, and their answers: for each pattern the output, the exit code and the error."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.bin = folder / "bin"
        self.bin.mkdir()
        self.bin.joinpath("python").write_text(f'#!/bin/sh\nexec {BIN}/python "$@"\n')
        self.bin.joinpath("python").chmod(0o755)
        script = TOOL.format(python=sys.executable, folder=str(folder), digest=DIGEST)
        self.script = folder / "tool"
        self.script.write_text(script)
        self.script.chmod(0o755)
        self.answers: list[tuple] = []
        self.install("docker", "kubectl", "helm", "kind")
        for name, digits in IDS.items():
            about = {"Id": f"sha256:{digits}", "Size": 456_700_000}
            about["RepoDigests"] = [f"other.io/{name}@sha256:e", f"{REGISTRY}/{name}@{DIGEST}"]
            about["Config"] = {"Labels": LABELS}
            self.answer(f"inspect .*/{name}:", json.dumps([about]))
        self.answer("kind get clusters", "other\nspace-flights")
        self.answer("get (statefulsets|nodes),pods", '{"items": []}')
        self.answer("get statefulsets --selector", '{"items": []}')
        self.answer("helm .* list", '[{"revision": "3"}]')
        key = base64.b64encode(PASSWORD.encode()).decode()
        secret = json.dumps({"data": {"admin-password": key}})
        self.answer("get secret space-flights-keys --output=json", secret)

    def install(self, *names: str) -> None:
        """Install only these tools."""
        for name in TOOLS:
            (self.bin / name).unlink(missing_ok=True)
            if name in names:
                (self.bin / name).symlink_to(self.script)

    def answer(self, pattern: str, output: str = "", code: int = 0, error: str = "") -> None:
        self.answers.insert(0, (pattern, output, code, error))

    @property
    def calls(self) -> list[str]:
        """The command lines, with temporary folders as TEMPORARY."""
        calls = [re.sub(r"/\S*/tmp\w+", "TEMPORARY", call) for call, _ in self.records]
        return [call for call in calls if " get statefulsets,pods " not in call]

    @property
    def records(self) -> list[list[str]]:
        calls = self.folder / "calls"
        lines = calls.read_text().splitlines() if calls.exists() else []
        return [json.loads(line) for line in lines]

    @property
    def secrets(self) -> dict[str, dict[str, str]]:
        """The secrets passed to kubectl."""
        given = [yaml.safe_load(text) for _, text in self.records if text]
        return {
            each["metadata"]["name"]: each["stringData"]
            for each in given
            if each["kind"] == "Secret"
        }

    def environment(self, **variables: str) -> dict[str, str]:
        self.folder.joinpath("answers").write_text(json.dumps(self.answers))
        given = {"OVERLAYS": "laptop", "NAMESPACE": "airflow", "RELEASE": "space-flights"}
        inherited = {key: value for key, value in ENVIRONMENT.items() if key != "PATH"}
        return {**inherited, **given, "PATH": str(self.bin), **variables}


@pytest.fixture(scope="module")
def rendered(tmp_path_factory) -> Path:
    """The files of a new project."""
    folder = tmp_path_factory.mktemp("rendered")
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined, keep_trailing_newline=True)
    for name, content in compose("spaceflights", "k8s").items():
        if name.startswith(f"{PROJECT}/") and "__answers_file" not in name:
            render = environment.from_string(name.removeprefix(f"{PROJECT}/")).render
            path = folder / render(cookiecutter=answers())
            path.parent.mkdir(parents=True, exist_ok=True)
            if b"\0" not in content:
                text = environment.from_string(content.decode())
                content = text.render(cookiecutter=answers()).encode()
            path.write_bytes(content)
    return folder


@pytest.fixture
def project(rendered, tmp_path) -> Path:
    return shutil.copytree(rendered, tmp_path / "space-flights")


@pytest.fixture
def tools(tmp_path) -> Tools:
    folder = tmp_path / "tools"
    folder.mkdir()
    return Tools(folder)


@pytest.fixture(scope="module")
def imported():
    """Python with the libraries of the verbs."""
    with Forks("fsspec", "httpx", "urllib.request", "yaml") as forks:
        yield forks


@pytest.fixture
def verb(project, tools, imported):
    """A function that runs a verb."""

    def call(name: str, check: bool = True, **variables: str) -> subprocess.CompletedProcess:
        environment = tools.environment(**variables)
        command = ["deploy/cluster.py", name]
        return imported.run(*command, cwd=project, check=check, env=environment)

    return call


@pytest.fixture
def deploy(project, tools):
    """A function that deploys images that were built, which is faster than `up`."""

    def call(check: bool = True, **variables: str) -> subprocess.CompletedProcess:
        environment = tools.environment(**variables)
        command = [sys.executable, "-S", "deploy/release.py", "deploy"]
        return run(*command, cwd=project, check=check, env=environment)

    return call


def refused(done: subprocess.CompletedProcess) -> str:
    """The error that a verb ended with, without a traceback."""
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    return "\n".join(line for line in done.stderr.splitlines() if line)


def build(engine: str, *options: str) -> list[str]:
    calls = []
    for name, file in zip(IDS, ["Dockerfile", "deploy/airflow.Dockerfile"], strict=True):
        full = f"docker.io/library/{name}"
        arguments = ["--file", file, "--tag", f"{full}:latest", *options]
        if file == "Dockerfile":
            arguments += [f"--label {label}={value}" for label, value in LABELS.items()]
        calls += [
            " ".join([engine, "build", *arguments, "."]),
            f"{engine} image inspect {full}:latest",
            f"{engine} tag {full}:latest docker.io/library/{LOADED[name]}",
        ]
    return calls


PUSH = [
    call
    for name, reference in LOADED.items()
    for call in (
        f"docker image inspect docker.io/library/{name}:latest",
        f"docker tag docker.io/library/{name}:latest {REGISTRY}/{reference}",
        f"docker push {REGISTRY}/{reference}",
        f"docker image inspect {REGISTRY}/{reference}",
    )
]


def upgrade(helm: str, images: list[str], values: str) -> str:
    project, airflow = images
    repository, _, tag = airflow.rpartition(":")
    return (
        f"{helm} upgrade --install space-flights {CHART} {values} "
        f"--set-string env[0].value={project} "
        f"--set-string images.airflow.repository={repository} "
        f"--set-string images.airflow.tag={tag} --wait --timeout 15m"
    )


def checks(kubectl: str, helm: str, values: str, release: str = "space-flights") -> list[str]:
    """The calls that find out whether there is room."""
    return [
        f"{helm} template {release} {CHART} {values}",
        f"{kubectl} {PARSE}",
        f"{kubectl} get nodes,pods --all-namespaces --output=json",
    ]


# image and push


def test_image_builds_both_images_and_shows_content_tags_and_sizes(verb, tools):
    done = verb("image")
    assert tools.calls == build("docker")
    assert done.stdout.splitlines() == [
        "image                                   size",
        "space-flights:aaaaaaaaaaaa            457 MB",
        "space-flights-airflow:bbbbbbbbbbbb    457 MB",
    ]


@pytest.mark.parametrize(
    ("installed", "engine"),
    [(["podman"], ""), (["docker", "podman"], "podman")],
)
def test_image_is_built_by_the_installed_or_the_chosen_engine(installed, engine, verb, tools):
    tools.install(*installed)
    verb("image", ENGINE=engine)
    assert tools.calls == build("podman", "--format", "docker")


@pytest.mark.parametrize("where", ["default", "data_science"])
def test_the_projects_image_has_airflow_if_the_executor_runs_a_pipeline(
    where, verb, tools, project
):
    settings = project / "conf" / "airflow" / "airflow.yml"
    if where == "default":
        edit(settings, "runner: pod", "runner: executor")
    else:
        settings.write_text(settings.read_text() + "\ndata_science:\n  runner: executor\n")
    verb("image")
    builds = [call for call in tools.calls if " build " in call]
    airflow = " --build-arg AIRFLOW=apache-airflow[cncf.kubernetes,postgres]==3.3.2 ."
    assert [call.endswith(airflow) for call in builds] == [True, False]


def test_up_refuses_the_runner_executor_without_kubernetes_executor(verb, tools, project):
    edit(project / "conf" / "airflow" / "airflow.yml", "runner: pod", "runner: executor")
    assert refused(verb("up", check=False)) == (
        "conf/airflow/airflow.yml has `runner: executor`, which needs KubernetesExecutor: "
        "OVERLAYS=executor-kubernetes, without laptop."
    )
    assert tools.calls == []


def test_push_prints_nothing_but_the_digests(verb, tools):
    assert verb("push", REGISTRY=f"{REGISTRY}/").stdout.splitlines() == PUSHED
    assert tools.calls == PUSH


def test_podman_reports_the_digest_of_what_it_pushed(verb, tools):
    tools.install("podman")
    assert verb("push", REGISTRY=REGISTRY).stdout.splitlines() == PUSHED
    target = f"{REGISTRY}/{LOADED['space-flights']}"
    assert tools.calls[2] == f"podman push --digestfile TEMPORARY/digest {target}"


# cluster


@pytest.mark.parametrize(
    ("installed", "calls"),
    [
        (
            ["docker", "kind", "minikube"],
            [
                "kind get clusters",
                "minikube profile list --light --output=json",
                "kind create cluster --name space-flights --wait 5m",
            ],
        ),
        (
            ["minikube"],
            [
                "minikube profile list --light --output=json",
                "minikube start --profile space-flights --memory 4g",
            ],
        ),
    ],
)
def test_cluster_is_created_by_kind_or_else_by_minikube(installed, calls, verb, tools):
    tools.install(*installed)
    tools.answer("kind get clusters", "other")
    tools.answer("minikube profile list", '{"valid": [{"Name": "other"}]}')
    verb("cluster")
    assert tools.calls == calls


def test_existing_cluster_stays(verb, tools):
    assert "already. Its context is kind-space-flights." in verb("cluster").stdout
    assert tools.calls == ["kind get clusters"]


@pytest.mark.parametrize(("engine", "provider"), [("podman", "podman"), ("docker", "")])
def test_kind_is_told_to_use_podman_if_that_is_chosen(engine, provider, verb, tools):
    tools.install("docker", "podman", "kind")
    verb("cluster", ENGINE=engine)
    assert (tools.folder / "provider").read_text() == provider


# up


def test_up_acts_only_on_the_cluster_of_make_cluster(verb, tools):
    done = verb("up")
    delete = f"{KUBECTL} delete pod space-flights-data --ignore-not-found --grace-period=1"
    loads = [f"kind load docker-image {each} --name space-flights" for each in LOADED.values()]
    missing = [
        f"{KUBECTL} get secret space-flights-{name} --ignore-not-found --output=name"
        for name in ("database", "keys")
    ]
    assert tools.calls == [
        "kind get clusters",
        *checks(KUBECTL, HELM, VALUES),
        *build("docker"),
        "docker image inspect docker.io/library/space-flights:latest",
        "kind get clusters",
        *(f"docker image inspect docker.io/library/{name}:latest" for name in IDS),
        *loads,
        f"{KUBECTL} get namespace airflow --ignore-not-found --output=name",
        f"{KUBECTL} create namespace airflow",
        missing[0],
        f"{KUBECTL} create --filename -",
        missing[1],
        f"{KUBECTL} create --filename -",
        f"{KUBECTL} apply --filename deploy/postgresql.yaml",
        f"{KUBECTL} rollout status statefulset/space-flights-postgresql --timeout=5m",
        f"{KUBECTL} apply --filename deploy/data.yaml",
        f"{HELM} list --filter ^space-flights$ --deployed --output=json",
        f"{KUBECTL} {JOBS} --ignore-not-found",
        f"{KUBECTL} {STATEFUL}",
        upgrade(HELM, list(LOADED.values()), VALUES),
        delete,
        f"{KUBECTL} create --filename -",
        f"{KUBECTL} wait --for=condition=Ready pod/space-flights-data --timeout=5m",
        f"{KUBECTL} exec --stdin space-flights-data -- tar --extract --file=- --directory=/",
        f"{delete} --wait=false",
    ]
    assert f"  {KUBECTL} port-forward svc/space-flights-api-server 8080\n" in done.stdout
    assert "user admin, at http://localhost:8080" in done.stdout


def test_up_creates_each_secret_through_kubectls_input_and_shows_none(verb, tools):
    done = verb("up")
    database, keys = tools.secrets["space-flights-database"], tools.secrets["space-flights-keys"]
    assert set(database) == {"connection", "password"}
    assert database["connection"] == (
        f"postgresql://airflow:{database['password']}@space-flights-postgresql:5432/airflow"
    )
    assert set(keys) == {"fernet-key", "api-secret-key", "jwt-secret", "admin-password"}
    signing = [keys["api-secret-key"], keys["jwt-secret"]]  # with SHA-512, which wants 64 bytes
    assert [len(key) for key in signing] == [64, 64]
    assert len(base64.urlsafe_b64decode(keys["fernet-key"])) == 32
    assert min(map(len, [database["password"], *keys.values()])) >= 22
    public = "\n".join([done.stdout, done.stderr, *tools.calls])
    for value in [*database.values(), *keys.values()]:
        assert value not in public


def test_up_never_replaces_a_secret(verb, tools):
    tools.answer("get secret", "secret/space-flights")
    tools.answer("get namespace", "namespace/airflow")
    verb("up")
    assert tools.secrets == {}
    assert not [call for call in tools.calls if "create namespace" in call]


def test_up_on_another_cluster_pushes_and_deploys_by_digest_and_keeps_its_data(verb, tools):
    tools.answer("get secret", "secret/space-flights")
    tools.answer("get namespace", "namespace/airflow")
    verb("up", CONTEXT="prod", REGISTRY=REGISTRY, OVERLAYS="quotas", NAMESPACE="n", RELEASE="r")
    kubectl, helm = "kubectl --context prod --namespace n", "helm --kube-context prod --namespace n"
    values = "-f deploy/values.yaml -f deploy/overlays/quotas.yaml"
    assert tools.calls == [
        *checks(kubectl, helm, values, "r"),
        *build("docker"),
        PUSH[0],  # reads the labels
        *PUSH,
        f"{kubectl} get namespace n --ignore-not-found --output=name",
        f"{kubectl} get secret space-flights-database --ignore-not-found --output=name",
        f"{kubectl} get secret space-flights-keys --ignore-not-found --output=name",
        f"{kubectl} apply --filename deploy/data.yaml",
        f"{helm} list --filter ^r$ --deployed --output=json",
        f"{kubectl} {JOBS.replace('space-flights', 'r')} --ignore-not-found",
        f"{kubectl} {STATEFUL.replace('space-flights', 'r')}",
        upgrade(helm, PUSHED, values).replace("install space-flights", "install r"),
    ]


@pytest.mark.parametrize(
    ("variables", "context"),
    [({}, "kind-space-flights"), ({"CONTEXT": "prod", "REGISTRY": REGISTRY}, "prod")],
)
def test_failed_upgrade_restores_what_ran_before(variables, context, deploy, tools):
    tools.answer("get secret", "secret/space-flights")
    tools.answer("upgrade --install", code=1, error="Error: one\ncontext deadline exceeded")
    done = deploy(check=False, **variables)
    kubectl = f"kubectl --context {context} --namespace airflow"
    helm = f"helm --kube-context {context} --namespace airflow"
    assert tools.calls[-5:] == [
        f"{helm} get manifest space-flights --revision 3",
        f"{kubectl} {PARSE}",
        f"{kubectl} {JOBS} --ignore-not-found",
        f"{kubectl} {STATEFUL}",
        f"{helm} rollback space-flights 3 --wait --timeout 15m",
    ]
    assert "has failed:\nError: one\ncontext deadline exceeded\nRestoring" in done.stdout
    assert refused(done).endswith("The upgrade has failed, see above. What ran before runs again.")


def test_failed_first_installation_has_nothing_to_restore(deploy, tools):
    tools.answer("helm .* list", "[]")
    tools.answer("upgrade --install", code=1, error="Error: timed out")
    error = refused(deploy(check=False))
    assert error.endswith("--wait --timeout 15m has failed:\nError: timed out")
    assert "rollback" not in "\n".join(tools.calls)


def stateful(size: str = "2Gi", **spec) -> dict:
    """A StatefulSet with a volume, as the chart writes it or as Kubernetes returns it."""
    claim = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": size}}}
    spec = {"serviceName": "triggerer", "selector": {}, **spec}
    spec["volumeClaimTemplates"] = [{"metadata": {"name": "logs"}, "spec": {**claim}}]
    about = {"name": "space-flights-triggerer"}
    return {"kind": "StatefulSet", "metadata": about, "spec": spec}


@pytest.mark.parametrize(
    ("wanted", "replaced"),
    [
        (stateful(), False),
        (stateful(replicas=2, template={"spec": {}}), False),
        (stateful("1Gi"), True),
        (stateful(serviceName="other"), True),
        (stateful(selector={"matchLabels": {"release": "r"}}), True),
        (stateful(podManagementPolicy="Parallel"), True),
    ],
)
def test_what_cannot_be_changed_is_replaced_and_its_pods_and_volumes_stay(
    wanted, replaced, deploy, tools
):
    here = stateful(podManagementPolicy="OrderedReady", revisionHistoryLimit=10)
    here["spec"]["volumeClaimTemplates"][0]["spec"]["volumeMode"] = "Filesystem"
    gone = stateful("9Gi") | {"metadata": {"name": "space-flights-scheduler"}}
    tools.answer("get statefulsets --selector", json.dumps({"items": [here, gone]}))
    tools.answer("create --dry-run=client", json.dumps(wanted))
    done = deploy()
    delete = f"{KUBECTL} delete statefulset space-flights-triggerer --cascade=orphan"
    assert [call for call in tools.calls if "delete statefulset" in call] == [delete] * replaced
    assert ("Replacing space-flights-triggerer, whose volumes stay" in done.stdout) is replaced


NODE = {
    "kind": "Node",
    "metadata": {"name": "node"},
    "spec": {},
    "status": {"allocatable": {"cpu": "1930m", "memory": "4096000Ki"}},
}
GPU = NODE | {
    "metadata": {"name": "gpu"},
    "spec": {"taints": [{"key": "gpu", "effect": "NoSchedule"}]},
}


def running(namespace: str, cpu: str, phase: str = "Running", node: str = "node") -> dict:
    containers = [{"resources": {"requests": {"cpu": cpu, "memory": "256Mi"}}}, {}]
    spec = {"nodeName": node, "containers": containers}
    about = {"name": "pod", "namespace": namespace}
    return {"kind": "Pod", "metadata": about, "spec": spec, "status": {"phase": phase}}


def workload(kind: str, cpu: str, memory: str, replicas: int | None = None, first="0") -> str:
    resources = {"requests": {"cpu": cpu, "memory": memory}}
    pod = {"containers": [{"resources": resources}]}
    pod["initContainers"] = [{"resources": {"requests": {"cpu": first}}}]
    spec = {"template": {"spec": pod}} | ({"replicas": replicas} if replicas else {})
    if kind == "CronJob":
        spec = {"jobTemplate": {"spec": spec}}
    return json.dumps({"kind": kind, "metadata": {"name": "any"}, "spec": spec})


CELERY = "\n".join(
    [
        workload("Deployment", "250m", "1Gi", 2),
        workload("Job", "0.1", "512Mi", first="200m"),
        workload("CronJob", "50m", "64Mi"),
        json.dumps({"kind": "Service", "metadata": {"name": "any"}, "spec": {}}),
    ]
)


@pytest.mark.parametrize(
    ("context", "pods", "left", "stops"),
    [
        ("", [], "1.93 cores and 3.91 GiB", False),
        ("", [running("airflow", "1900m")], "1.93 cores and 3.91 GiB", False),
        ("", [running("kube-system", "1")], "0.93 cores and 3.66 GiB", False),
        ("", [running("x", "1", "Succeeded")], "1.93 cores and 3.91 GiB", False),
        ("", [running("x", "1", node="gpu")], "1.93 cores and 3.91 GiB", False),
        ("", [running("x", "1200m")], "0.73 cores and 3.66 GiB", True),
        ("prod", [running("x", "1200m")], "0.73 cores and 3.66 GiB", False),
    ],
)
def test_deployment_says_what_airflow_asks_for_and_stops_first_if_our_cluster_lacks_it(
    context, pods, left, stops, deploy, tools
):
    tools.answer("get secret", "secret/space-flights")
    tools.answer("get nodes,pods", json.dumps({"items": [NODE, GPU, *pods]}))
    tools.answer("create --dry-run=client", CELERY)
    overlays = "executor-celery-redis flower"
    done = deploy(check=False, OVERLAYS=overlays, CONTEXT=context, REGISTRY=REGISTRY)
    said = (
        f"OVERLAYS={overlays}: Airflow asks for 0.75 cores and 2.56 GiB of memory, "
        f"and the cluster has {left} of memory left."
    )
    if stops:
        assert refused(done) == f"{said} Choose other overlays, or give it more."
        assert "get nodes,pods" in tools.calls[-1]
    else:
        assert done.stdout.splitlines().count(said) == 1
        assert "upgrade --install" in "\n".join(tools.calls)


def test_deployment_goes_on_where_nodes_may_not_be_read(deploy, tools):
    tools.answer("get secret", "secret/space-flights")
    tools.answer("get nodes,pods", code=1, error="Error from server (Forbidden): nodes")
    tools.answer("create --dry-run=client", CELERY)
    done = deploy(CONTEXT="prod", REGISTRY=REGISTRY, OVERLAYS="executor-celery-redis")
    assert "2.56 GiB of memory, and the cluster does not show what it has.\n" in done.stdout
    assert "upgrade --install" in tools.calls[-1]


def test_up_shows_pods_and_deletes_broken_ones_that_block_an_upgrade(verb, tools):
    def pod(name, revision, ready="False", **status):
        owners = [{"name": "space-flights-scheduler"}]
        about = {"name": name, "ownerReferences": owners}
        about["labels"] = {"controller-revision-hash": revision}
        conditions = [{"type": "Ready", "status": ready}]
        status = {"phase": "Pending", "conditions": conditions, **status}
        return {"kind": "Pod", "metadata": about, "status": status}

    waiting = [{"state": {"waiting": {"reason": "ImagePullBackOff"}}}]
    items = [
        {
            "kind": "StatefulSet",
            "metadata": {"name": "space-flights-scheduler"},
            "status": {"updateRevision": "new"},
        },
        pod("scheduler-0", "old", containerStatuses=waiting),
        pod("scheduler-1", "new"),
        pod("scheduler-2", "old", ready="True"),
        pod("create-user", "", phase="Succeeded"),
    ]
    items[-1]["metadata"]["ownerReferences"] = [{"name": "space-flights-create-user"}]
    items.append(pod("scheduler-3", "old", containerStatuses=waiting))
    items[-1]["metadata"]["deletionTimestamp"] = "2024-01-01T00:01:00Z"
    tools.answer("get statefulsets,pods", json.dumps({"items": items}))
    done = verb("up")
    assert [line for line in done.stdout.splitlines() if line.startswith("  ")][:4] == [
        "  ImagePullBackOff  scheduler-0",
        "  pending           scheduler-1",
        "  ready             scheduler-2",
        "  succeeded         create-user",
    ]
    deleted = f"{KUBECTL} delete pod scheduler-0 --ignore-not-found --wait=false"
    assert [call for call in tools.calls if "pod scheduler" in call] == [deleted]


@pytest.mark.parametrize(
    ("installed", "calls"),
    [
        (
            "podman kind",
            [
                "podman save --output TEMPORARY/image.tar docker.io/library/{}",
                "kind load image-archive TEMPORARY/image.tar --name space-flights",
            ],
        ),
        ("docker minikube", ["minikube image load {} --profile space-flights"]),
        (
            "podman minikube",
            [
                "podman save --output TEMPORARY/image.tar docker.io/library/{}",
                "minikube image load TEMPORARY/image.tar --profile space-flights",
            ],
        ),
    ],
)
def test_images_are_loaded_with_the_installed_tools(installed, calls, verb, tools):
    tools.install("kubectl", "helm", *installed.split())
    tools.answer("minikube profile list", '{"valid": [{"Name": "space-flights"}]}')
    verb("up")
    expected = [call.format(each) for each in LOADED.values() for call in calls]
    assert [call for call in tools.calls if " load " in call or " save " in call] == expected
    if "minikube" in installed:
        assert any(call.startswith("kubectl --context space-flights ") for call in tools.calls)


# data


def test_raw_data_goes_to_the_volume_through_a_restricted_pod_of_the_deployed_image(
    verb, tools, project
):
    env = [{"name": "KEDRO_IMAGE", "value": "space-flights:deployed"}]
    spec = {"template": {"spec": {"containers": [{"env": env}]}}}
    tools.answer("get deployment space-flights-api-server", json.dumps({"spec": spec}))
    assert verb("data").returncode == 0
    [text] = [text for _, text in tools.records if text]
    pod = json.loads(text)
    [container] = pod["spec"]["containers"]
    assert pod["metadata"]["name"] == "space-flights-data"
    assert container["image"] == "space-flights:deployed"
    assert container["command"] == ["sleep", "3600"]
    mounts = {each["name"]: each["mountPath"] for each in container["volumeMounts"]}
    assert mounts["data"] == "/home/kedro_docker/data"
    volumes = {each["name"]: each for each in pod["spec"]["volumes"]}
    assert volumes["data"]["persistentVolumeClaim"] == {"claimName": "space-flights-data"}
    security = pod["spec"]["securityContext"]
    assert (security["runAsUser"], security["fsGroup"]) == (10001, 10001)
    assert security["runAsNonRoot"] is True
    assert security["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "readOnlyRootFilesystem": True,
    }
    raw = project / "data" / "01_raw"
    expected = {
        f"home/kedro_docker/data/01_raw/{path.name}": path.read_bytes()
        for path in raw.iterdir()
        if not path.name.startswith(".")
    }
    with tarfile.open(tools.folder / "received.tar") as tar:
        assert {each.name: tar.extractfile(each).read() for each in tar} == expected


def test_pod_for_the_data_is_deleted_even_if_copying_fails(verb, tools):
    tools.answer("condition=Ready", code=1, error="error: timed out waiting for the condition")
    error = refused(verb("up", check=False))
    assert error.endswith("has failed:\nerror: timed out waiting for the condition")
    delete = "delete pod space-flights-data --ignore-not-found --grace-period=1 --wait=false"
    assert tools.calls[-1] == f"{KUBECTL} {delete}"


def test_only_new_or_changed_raw_data_goes_to_a_url(verb, project, tools):
    # file:// stands in for a bucket: fsspec treats both alike.
    bucket = project / "bucket"
    (project / "conf" / "airflow" / "globals.yml").write_text(f"storage: file://{bucket}\n")
    raw = project / "data" / "01_raw"
    names = sorted(path.name for path in raw.iterdir() if path.name[0] != ".")
    (bucket / "01_raw").mkdir(parents=True)

    def actions() -> list[str]:
        return [line.split()[1] for line in verb("data").stdout.splitlines()]

    assert actions() == ["upload"] * len(names)
    assert actions() == ["unchanged"] * len(names)
    os.utime(raw / names[0], (time.time() + 60, time.time() + 60))
    (raw / names[1]).write_text("changed")
    assert actions() == ["upload", "upload"] + ["unchanged"] * (len(names) - 2)
    assert (bucket / "01_raw" / names[1]).read_text() == "changed"
    assert tools.calls == []


def test_missing_package_for_a_url_is_one_error(verb, project):
    (project / "conf" / "airflow" / "globals.yml").write_text("storage: gs://bucket/p\n")
    error = refused(verb("data", check=False))
    assert error.startswith("gs://bucket/p/01_raw: ") and "gcsfs" in error


# down


def test_down_deletes_the_cluster_and_everything_in_it(verb, tools):
    done = verb("down")
    assert tools.calls == ["kind get clusters", "kind delete cluster --name space-flights"]
    assert done.stdout == (
        "Deleted the cluster space-flights with Airflow, its database and its volumes.\n"
    )


def test_down_deletes_a_minikube_cluster(verb, tools):
    tools.install("minikube")
    tools.answer("minikube profile list", '{"valid": [{"Name": "space-flights"}]}')
    verb("down")
    assert tools.calls[1:] == ["minikube delete --profile space-flights"]


def test_down_only_uninstalls_from_another_cluster_and_says_what_stays(verb, tools):
    done = verb("down", CONTEXT="prod")
    assert tools.calls == [
        "helm --kube-context prod --namespace airflow"
        " uninstall space-flights --ignore-not-found --wait --timeout 15m"
    ]
    assert "Volumes, secrets and what else is in the namespace airflow stay." in done.stdout


def test_down_without_a_cluster_of_make_cluster_deletes_nothing(verb, tools):
    tools.answer("kind get clusters", "other")
    assert verb("down").stdout == "There is no cluster space-flights.\n"
    assert tools.calls == ["kind get clusters"]


# What is refused


@pytest.mark.parametrize(
    ("name", "installed", "missing"),
    [
        ("image", "", ["docker"]),
        ("push", "", ["docker"]),
        ("cluster", "", ["kind", "docker"]),
        ("up", "docker kind", ["kubectl", "helm"]),
        ("up", "docker kubectl helm", ["kind"]),
        ("data", "kind", ["kubectl"]),
        ("trigger", "kind", ["kubectl"]),
        ("logs", "kind", ["kubectl"]),
        ("down", "kubectl helm", ["kind"]),
    ],
)
def test_missing_tool_is_named_with_where_to_get_it_before_anything_is_done(
    name, installed, missing, verb, tools
):
    tools.install(*installed.split())
    error = refused(verb(name, check=False, REGISTRY=REGISTRY))
    lines = error.splitlines()
    assert [line.partition(" is missing: https://")[0] for line in lines] == missing
    assert tools.calls == []


@pytest.mark.parametrize(
    ("name", "variables", "message"),
    [
        ("push", {}, "REGISTRY is not set. Say where the images go, as in REGISTRY=ghcr.io/OWNER."),
        ("up", {"CONTEXT": "prod"}, "REGISTRY is not set. Say where"),
        ("up", {"OVERLAYS": "latop"}, "OVERLAYS: there is no overlay latop: did you mean laptop?"),
        (
            "up",
            {"OVERLAYS": "laptop high-availability"},
            "OVERLAYS: high-availability and laptop exclude each other: choose one",
        ),
        ("cluster", {"CONTEXT": "prod"}, "CONTEXT names an existing cluster:"),
        ("image", {"ENGINE": "buildah"}, "ENGINE is buildah: choose docker or podman."),
        ("up", {"NAMESPACE": ""}, "NAMESPACE and RELEASE must be set. `make up` does that."),
        ("upp", {}, "usage: python deploy/cluster.py image|push|cluster|up|data|trigger|logs|down"),
    ],
)
def test_nonsense_is_refused_before_anything_is_done(name, variables, message, verb, tools):
    error = refused(verb(name, check=False, **variables))
    assert error.startswith(message) and "\n" not in error
    assert tools.calls == []


@pytest.mark.parametrize("name", ["up", "data", "trigger", "logs"])
def test_without_a_cluster_verbs_name_the_two_ways_to_get_one(name, verb, tools):
    tools.answer("kind get clusters", "other")
    error = refused(verb(name, check=False))
    assert error == (
        "There is no cluster space-flights. Create it with `make cluster`, or choose one of "
        "`kubectl config get-contexts` by CONTEXT=..."
    )
    assert set(tools.calls) == {"kind get clusters"}


def test_any_database_but_the_laptops_must_have_its_secret(verb, tools):
    error = refused(verb("up", check=False, OVERLAYS=""))
    assert error.splitlines()[-1].startswith(
        "There is no secret space-flights-database in the namespace airflow. Create it with the key"
    )
    assert tools.secrets == {}


def test_failed_command_is_shown_with_its_last_words(verb, tools):
    tools.answer("apply", code=1, error="1\n2\n3\n\nError from server: refused")
    assert refused(verb("up", check=False)) == (
        f"{KUBECTL} apply --filename deploy/postgresql.yaml has failed:\n"
        "2\n3\nError from server: refused"
    )


@pytest.mark.parametrize("name", ["image", "up"])
def test_no_image_is_built_while_a_secret_would_leave(name, verb, tools, project):
    (project / "plugins" / "team.py").write_text('PASSWORD = "TOP-SECRET"\n')
    error = refused(verb(name, check=False))
    assert "plugins/team.py:1: PASSWORD is not a reference" in error.splitlines()
    assert "TOP-SECRET" not in error
    assert [call for call in tools.calls if call.startswith("docker") or "upgrade" in call] == []


def test_image_must_be_built_before_it_is_pushed(verb, tools):
    tools.answer("inspect", code=1, error="No such image")
    error = refused(verb("push", check=False, REGISTRY=REGISTRY))
    assert error == "There is no image space-flights: run `make image`.\nNo such image"


# trigger and logs

DAG_FILE = """
import time
from airflow.sdk import DAG, task

with DAG("space_flights"):

    @task(retries=0)
    def load(number):
        print("loaded", number)

    @task(retries=0)
    def train():
        if {fail}:
            raise ValueError("no rows")

    train() >> load.expand(number=[1, 2])
"""


class AirflowWithPassword(LocalAirflow):
    """Asks for the password, unlike the demo's."""

    def wait_until_healthy(self, seconds: int = 180) -> None:
        deadline = time.monotonic() + seconds
        parts = ("scheduler", "dag_processor")
        while time.monotonic() < deadline and self.process.poll() is None:
            time.sleep(0.5)
            try:
                health = self.api.get("/api/v2/monitor/health").json()
            except (OSError, ValueError, httpx.TransportError):
                continue
            if all(health[part]["status"] == "healthy" for part in parts):
                return
        raise RuntimeError((self.home / "standalone.log").read_text())


def is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


def test_trigger_and_logs_follow_a_run_on_a_real_airflow(verb, tools, tmp_path):
    dags, passwords = tmp_path / "dags", tmp_path / "passwords.json"
    dags.mkdir()
    dag = dags / "dag.py"
    dag.write_text(DAG_FILE.format(fail=False))
    passwords.write_text(json.dumps({"admin": PASSWORD}))
    environment = {
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "False",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(passwords),
        "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "1",
        "AIRFLOW__DAG_PROCESSOR__DAG_FILE_PROCESSOR_TIMEOUT": "30",
    }
    with AirflowWithPassword(tmp_path / "airflow", dags, environment=environment) as airflow:
        (tools.folder / "port").write_text(airflow.url.rpartition(":")[2])

        done = verb("trigger")
        lines = done.stdout.splitlines()
        states = [tuple(line.split()[1:]) for line in lines if re.match(r"\d\d:\d\d:\d\d ", line)]
        ended = [name for state, name in states if state == "success"]
        assert ended[0] == "train" and sorted(ended[1:]) == ["load[0]", "load[1]"]
        assert len(states) == len(set(states))
        assert re.fullmatch(r"The run has succeeded in \d+ s\.", lines[-1])
        assert PASSWORD not in "".join([done.stdout, *tools.calls])

        log = verb("logs").stdout
        assert "=== train: success, try 1" in log and "=== load[1]: success, try 1" in log
        assert re.search(r"^\d\d:\d\d:\d\d info +loaded 2$", log, re.M)
        assert "::group::" not in log

        before = dag.read_text()
        dag.write_text(before.replace("if False", "if True"))
        time.sleep(8)  # until Airflow has read it again
        done = verb("trigger", check=False)
        assert refused(done) == "The run has failed: `make logs` shows why."
        log = verb("logs").stdout
        *_, last = log.split("\n=== ")
        assert last.startswith("train: failed, try 1\n")
        assert last.rstrip().endswith("ValueError: no rows")
        assert f'  File "{dag}", line' in last

        tools.answer(
            "get secret space-flights-keys", json.dumps({"data": {"admin-password": "eA=="}})
        )
        error = refused(verb("trigger", check=False))
        assert error.startswith("Airflow refuses the user admin with the password of the secret")
    assert not is_running(int((tools.folder / "forwarding").read_text()))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_trigger_stops_forwarding_the_port(number, project, tools):
    import socket

    with socket.create_server(("127.0.0.1", 0)) as silent:
        (tools.folder / "port").write_text(str(silent.getsockname()[1]))
        process = subprocess.Popen(
            [sys.executable, "deploy/cluster.py", "trigger"],
            cwd=project,
            env=tools.environment(),
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),  # as in a terminal
        )
        silent.settimeout(20)
        silent.accept()  # the first one checks that the port is open
        silent.accept()
        process.send_signal(number)
        _, error = process.communicate(timeout=20)
    assert process.returncode == 1
    assert error in ("Interrupted\n", "Terminated\n")
    assert not is_running(int((tools.folder / "forwarding").read_text()))


def test_port_that_cannot_be_forwarded_is_one_error(verb, tools):
    (tools.folder / "port").write_text("1")
    tools.answer("port-forward", code=1)
    script = tools.script.read_text()
    tools.script.write_text(script.replace('if "port-forward" in', 'if "never" in'))
    tools.answer("port-forward", code=1, error="Error from server: services not found")
    error = refused(verb("logs", check=False))
    assert error.endswith(":8080 has failed:\nError from server: services not found")


# The Makefile, the volume and the workflow


def test_make_passes_the_verbs_their_variables(project, tools):
    tools.install("helm", "docker", "kubectl")
    environment = tools.environment()
    for name in ("OVERLAYS", "NAMESPACE", "RELEASE"):
        del environment[name]
    environment["PATH"] += f"{os.pathsep}/usr/bin{os.pathsep}/bin"
    run("make", "down", "CONTEXT=prod", "NAMESPACE=n", cwd=project, env=environment)
    assert tools.calls == [
        "helm --kube-context prod --namespace n"
        " uninstall space-flights --ignore-not-found --wait --timeout 15m"
    ]
    printed = run("make", "help", cwd=project, env=environment).stdout
    for name in ("image", "push", "cluster", "up", "deploy", "data", "trigger", "logs", "down"):
        assert re.search(rf"^  make {name} +[A-Z]", printed, re.M)


def test_local_airflow_runs_tasks_in_its_own_processes(project):
    text = (project / "Makefile").read_text()
    assert "\nairflow: export KEDRO_RUNNER = executor\n" in text


def test_volume_has_the_name_that_the_tasks_mount(project):
    claim = yaml.safe_load((project / "deploy" / "data.yaml").read_text())
    settings = yaml.safe_load((project / "conf" / "airflow" / "airflow.yml").read_text())
    assert claim["metadata"]["name"] == settings["default"]["volume"] == "space-flights-data"
    assert claim["spec"]["accessModes"] == ["ReadWriteOnce"]


def test_kubernetes_accepts_the_volume_but_not_a_misspelled_field(project, linters):
    # checkov has no rule for volume claims.
    command = [linters / "kubernetes-validate", "--strict"]
    file = project / "deploy" / "data.yaml"
    run(*command, "-k", KUBERNETES, file, cwd=project)
    edit(file, "accessModes", "accesModes")
    done = run(*command, "-k", KUBERNETES, file, cwd=project, check=False)
    assert done.returncode != 0 and "accesModes" in done.stdout + done.stderr


@pytest.fixture
def workflow(project) -> dict:
    return yaml.safe_load((project / ".github" / "workflows" / "deploy.yml").read_text())


def test_workflow_deploys_main_after_the_tests_once_a_context_is_set(workflow):
    # YAML 1.1 reads the key on as true.
    assert workflow[True] == {"push": {"branches": ["main"]}, "workflow_dispatch": None}
    build, deploy = workflow["jobs"].values()
    assert build["if"] == "vars.KUBE_CONTEXT != ''"
    assert deploy["needs"] == "build"
    assert deploy["env"]["CONTEXT"] == "${{ vars.KUBE_CONTEXT }}"
    steps = [step.get("run") or step["uses"].partition("@")[0] for step in build["steps"]]
    assert steps == [
        *("actions/checkout", "actions/setup-python"),
        *("make install", "make test", "make image"),
        "docker save --output images.tar space-flights:latest space-flights-airflow:latest",
        "actions/upload-artifact",
    ]
    steps = [step.get("run") or step["uses"].partition("@")[0] for step in deploy["steps"]]
    assert steps[:4] == [
        *("actions/checkout", "actions/setup-python", "actions/download-artifact"),
        "docker load --input images.tar",
    ]
    assert "docker login ghcr.io" in steps[4]
    assert 'make deploy REGISTRY="ghcr.io/${GITHUB_REPOSITORY,,}"' in steps[5]
    assert len(steps) == 6


def test_workflow_may_write_packages_only_in_the_job_that_deploys(workflow):
    build, deploy = workflow["jobs"].values()
    assert workflow["permissions"] == {"contents": "read"}
    assert "permissions" not in build
    assert deploy["permissions"] == {"contents": "read", "packages": "write"}
    assert deploy["environment"] == "production"
    for job in (build, deploy):
        assert job["steps"][0]["with"] == {"persist-credentials": False}


def test_deployment_needs_no_package(tools, project):
    tools.answer("get secret", "secret/space-flights")
    environment = tools.environment(CONTEXT="prod", REGISTRY=REGISTRY, OVERLAYS="")
    run(sys.executable, "-S", "deploy/release.py", "deploy", cwd=project, env=environment)
    assert "upgrade --install" in tools.calls[-1]
    assert [call for call in tools.calls if " build " in call] == []


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        ({"kedro.runners": "executor pod"}, "conf/airflow/airflow.yml has `runner: executor`"),
        ({"kedro.storage": "s3://bucket/data"}, None),
    ],
)
def test_deployment_reads_from_the_image_what_it_is_built_for(labels, said, tools, project):
    tools.answer("get secret", "secret/space-flights")
    about = {"Id": "a", "RepoDigests": [f"{REGISTRY}/space-flights@{DIGEST}"]}
    image = about | {"Config": {"Labels": LABELS | labels}}
    tools.answer("inspect .*/space-flights:", json.dumps([image]))
    environment = tools.environment(CONTEXT="prod", REGISTRY=REGISTRY, OVERLAYS="")
    command = [sys.executable, "deploy/release.py", "deploy"]
    done = run(*command, cwd=project, env=environment, check=False)
    if said:
        assert refused(done).startswith(said)
    else:
        assert "deploy/data.yaml" not in str(tools.calls) and "upgrade" in tools.calls[-1]


def test_workflow_gives_each_secret_only_to_the_step_that_needs_it(workflow):
    build, deploy = workflow["jobs"].values()
    steps = enumerate(deploy["steps"])
    assert {number: step["env"] for number, step in steps if step.get("env")} == {
        4: {"GITHUB_TOKEN": "${{ github.token }}"},
        5: {"KUBE_CONFIG": "${{ secrets.KUBE_CONFIG }}"},
    }
    assert "secrets" not in json.dumps(deploy["env"]) and "secrets" not in json.dumps(build)


def test_workflow_really_deploys_with_a_kubeconfig_that_appears_in_no_command(
    workflow, project, tools, tmp_path
):
    job = workflow["jobs"]["deploy"]
    tools.answer("get secret", "secret/space-flights")
    environment = tools.environment(
        CONTEXT="prod",
        OVERLAYS="",
        RUNNER_TEMP=str(tmp_path),
        GITHUB_REPOSITORY="Team/Repo",
        GITHUB_ACTOR="me",
        GITHUB_TOKEN="token",
        KUBE_CONFIG="kind: Config",
    )
    environment["PATH"] += f"{os.pathsep}/usr/bin{os.pathsep}/bin"
    for name, digits in IDS.items():
        about = {"Id": digits, "RepoDigests": [f"ghcr.io/team/repo/{name}@{DIGEST}"]}
        about["Config"] = {"Labels": LABELS}
        tools.answer(f"inspect .*/{name}:", json.dumps([about]))
    tools.folder.joinpath("answers").write_text(json.dumps(tools.answers))
    for step in job["steps"][4:]:
        run("bash", "-e", "-c", step["run"], cwd=project, env=environment)
    kubeconfig = tmp_path / "kubeconfig"
    assert kubeconfig.read_text() == "kind: Config"
    assert kubeconfig.stat().st_mode & 0o077 == 0
    assert tools.calls[0] == "docker login ghcr.io --username me --password-stdin"
    assert "env[0].value=ghcr.io/team/repo/space-flights@" + DIGEST in tools.calls[-1]
    assert "upgrade --install" in tools.calls[-1] and "overlays" not in tools.calls[-1]


# This repository's own workflow


@pytest.fixture
def kind() -> dict:
    """The job of the workflow that runs a new project on real clusters."""
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "kind.yml").read_text())
    return workflow["jobs"]["cluster"]


@pytest.mark.parametrize("released", ["", "v0.1.0\nv0.0.9"])
def test_kind_workflow_runs_updates_delays_and_kills(released, kind, project, tools):
    commands = ("copier", "git", "go", "make", "pip", *TOOLS)
    for name in commands:
        (tools.bin / name).unlink(missing_ok=True)
        (tools.bin / name).symlink_to(tools.script)
    tools.answer("git tag", released)
    tools.answer("make logs", "=== slow: success, try 1\n=== slow: success, try 2")
    environment = tools.environment(GITHUB_WORKSPACE="/starters", GITHUB_SHA="abc")
    environment |= {"NODE": "node", "PROJECT": str(project)}
    environment |= {name: str(tools.folder / name) for name in ("GITHUB_ENV", "GITHUB_PATH")}
    environment["PATH"] += f"{os.pathsep}/usr/bin{os.pathsep}/bin"
    skipped = ["failure()", *([] if released else ["env.RELEASED != ''"])]
    for step in kind["steps"]:
        if "run" in step and step.get("if") not in skipped:
            run("bash", "-eo", "pipefail", "-c", step["run"], cwd=ROOT, env=environment)
    assert (tools.folder / "GITHUB_ENV").read_text() == f"RELEASED={released[:6]}\n"
    calls = [call for call in tools.calls if not re.match("git|go|pip", call)]
    calls.remove("make trigger")  # runs beside the next ones
    starter = "--data=starter=spaceflights-k8s --data=project_name=Space Flights"
    slow = "kubectl --context kind-space-flights --namespace airflow {} pod --selector=task_id=slow"
    assert calls == [
        f"copier copy --trust --defaults --vcs-ref={released[:6] or 'HEAD'} {starter}"
        f" /starters {project}",
        "make install dag test",
        "kind create cluster --name space-flights --image node --wait 5m",
        f"make -C {project} cluster up trigger",
        *["copier update --trust --defaults --vcs-ref=abc"] * bool(released),
        *["make install dag test up trigger"] * bool(released),
        "make dag up trigger",
        "make logs",
        slow.format("wait") + " --for=condition=Ready",
        slow.format("delete") + " --wait=false",
        "make logs",
        "make up trigger OVERLAYS=executor-kubernetes",
        "make up trigger",
    ]


def test_kind_workflow_has_three_versions_by_digest_and_only_targets_that_exist(kind, project):
    versions = [
        re.fullmatch(r"v1\.(\d\d)\.\d+@sha256:[0-9a-f]{64}", node)[1]
        for node in kind["strategy"]["matrix"]["node"]
    ]
    assert versions == ["30", "33", KUBERNETES.removeprefix("1.")]
    makefile = (project / "Makefile").read_text()
    made = [
        word
        for step in kind["steps"]
        for line in step.get("run", "").splitlines()
        if line.startswith("make ")
        for word in re.sub(r'-C "\$PROJECT"|> slow.log|&|OVERLAYS=\S+', "", line).split()[1:]
    ]
    assert len(made) > 15
    assert [word for word in made if f"\n{word}: " not in makefile] == []


def test_slow_pipeline_of_the_kind_workflow_is_one_that_kedro_finds(kind, project):
    [step] = [step["run"] for step in kind["steps"] if "pipelines/slow" in step.get("run", "")]
    before_make = step.partition("make dag")[0]
    run("bash", "-ec", before_make, cwd=project, env=ENVIRONMENT | {"PROJECT": str(project)})
    code = "from space_flights.pipelines.slow import create_pipeline as make; print(make().nodes)"
    environment = ENVIRONMENT | {"PYTHONPATH": "src"}
    done = run(sys.executable, "-c", code, cwd=project, env=environment)
    assert done.stdout == "[Node(wait, 'companies', None, 'wait')]\n"
