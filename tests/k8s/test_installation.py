"""The DAG runs in what helm installs, without a cluster: kubernetes_api.py runs the chart's pods.

Helm, the chart, both images, all of Airflow and its login are real. Needs the chart (set
AIRFLOW_CHART), the ports of Airflow's services, root, podman and debootstrap.
"""

import base64
import json
import re
import secrets
import sys
from uuid import uuid4

import httpx
import psutil
import pytest

from tests.conftest import run
from tests.k8s.test_cluster import Tools
from tests.k8s.test_helm import manifests, mebibytes
from tests.k8s.test_pods import wait_for
from tests.standins.images import build
from tests.standins.kubernetes_api import KubernetesApi, podman

pytestmark = pytest.mark.slow
NAME = "image-demo"
HEALTH = "http://127.0.0.1:8080/api/v2/monitor/health"


def pod(workload, folder):
    """The pod of a Job, Deployment or StatefulSet, with all services on this machine.

    Without what the stand-in lacks: probes, ports, and the container that waits for jobs.
    """
    name, spec = workload["metadata"]["name"], workload["spec"]["template"]["spec"]
    spec.pop("affinity", None)
    spec.pop("initContainers", None)
    [container] = spec["containers"]
    for field in ("livenessProbe", "ports", "readinessProbe", "startupProbe"):
        container.pop(field, None)
    container["env"].append({"name": "KUBECONFIG", "value": "/kubeconfig"})
    container["env"].append({"name": "NO_PROXY", "value": "*"})
    for file, path in {"hosts": "/etc/hosts", "kubernetes/kubeconfig": "/kubeconfig"}.items():
        volume = {"name": path.rpartition("/")[2]}
        container["volumeMounts"].append(volume | {"mountPath": path, "readOnly": True})
        spec["volumes"].append(volume | {"hostPath": {"path": str(folder / file)}})
    for claim in workload["spec"].get("volumeClaimTemplates", []):
        volume = {"name": claim["metadata"]["name"]}
        spec["volumes"].append(volume | {"persistentVolumeClaim": {"claimName": f"{name}-logs"}})
    metadata = {"name": name, "labels": workload["spec"]["template"]["metadata"]["labels"]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


def memory(containers):
    """The memory of all processes in these podman containers, in mebibytes."""
    found = podman("inspect", "--format={{.State.Pid}}", *containers).stdout.split()
    mains = [psutil.Process(int(number)) for number in found]
    processes = [each for main in mains for each in (main, *main.children(recursive=True))]
    return sum(process.memory_full_info().pss for process in processes) / 2**20


def is_healthy():
    """Return whether all of Airflow's services are healthy."""
    try:
        parts = httpx.get(HEALTH, trust_env=False).json().values()
    except (httpx.TransportError, json.JSONDecodeError):
        return False
    return {part["status"] for part in parts} == {"healthy"}


def test_dag_runs_in_what_helm_installs_on_a_laptop_in_the_memory_that_it_has(
    chart, helm, k8s_image, postgresql, tmp_path
):
    project, tag = k8s_image.project, uuid4().hex
    images = {"env[0].value": k8s_image.name, "images.airflow.tag": tag}
    images["images.airflow.repository"] = f"localhost/{NAME}-airflow"
    build(project, f"localhost/{NAME}-airflow:{tag}", dockerfile="deploy/airflow.Dockerfile")
    command = [helm, "template", NAME, chart, "--namespace=default"]
    command += ["--values=deploy/values.yaml", "--values=deploy/overlays/laptop.yaml"]
    command += [f"--set-string={key}={value}" for key, value in images.items()]
    objects = manifests(run(*command, cwd=project).stdout)
    jobs, services = [
        [each for each in objects if each["kind"] in kinds]
        for kinds in ({"Job"}, {"Deployment", "StatefulSet"})
    ]
    jobs.sort(key=lambda job: "migrations" not in job["metadata"]["name"])

    volumes = {f"{NAME}-data": tmp_path / "data"}
    run("cp", "--recursive", project / "data", tmp_path / "data", cwd=tmp_path)
    names = [service["metadata"]["name"] for service in services]
    hosts = [host for name in names for host in (name, f"{name}-0.{name}")]
    (tmp_path / "hosts").write_text(f"127.0.0.1 localhost {' '.join([*names, *hosts])}\n")
    for name in names:
        volumes[f"{name}-logs"] = tmp_path / f"{name}-logs"
        volumes[f"{name}-logs"].mkdir()
    [connection] = postgresql.database().values()
    password = secrets.token_hex()
    connection = connection.replace("postgres@", f"postgres:{password}@")
    keys = {
        "fernet-key": base64.urlsafe_b64encode(secrets.token_bytes(32)).decode(),
        "api-secret-key": secrets.token_urlsafe(32),
        "jwt-secret": secrets.token_urlsafe(48),
        "admin-password": f"-{secrets.token_urlsafe(16)}",
    }
    known = {f"{NAME}-database": {"connection": connection}, f"{NAME}-keys": keys}
    config = {each["metadata"]["name"]: each["data"] for each in objects if "data" in each}
    with KubernetesApi(tmp_path / "kubernetes", volumes, known, config) as kubernetes:

        def phases():
            return {each["metadata"]["name"]: each["status"]["phase"] for each in kubernetes.pods()}

        for job in jobs:
            kubernetes.create("default", pod(job, tmp_path))
            wait_for(lambda: set(phases().values()) <= {"Failed", "Succeeded"})
        assert set(phases().values()) == {"Succeeded"}
        for service in services:
            kubernetes.create("default", pod(service, tmp_path))
        wait_for(is_healthy)

        (tmp_path / "tools").mkdir()
        tools = Tools(tmp_path / "tools")
        tools.folder.joinpath("port").write_text("8080")
        key = base64.b64encode(keys["admin-password"].encode()).decode()
        tools.answer(f"get secret {NAME}-keys", json.dumps({"data": {"admin-password": key}}))
        verb = [sys.executable, "deploy/cluster.py"]
        environment = tools.environment(CONTEXT="any", RELEASE=NAME)
        done = run(*verb, "trigger", cwd=project, env=environment)
        assert re.search(r"^The run has succeeded in \d+ s\.$", done.stdout, re.MULTILINE)
        log = run(*verb, "logs", cwd=project, env=environment).stdout
        assert "=== reporting: success, try 1" in log
        assert "Pipeline execution completed successfully" in log

        for each in list(kubernetes.running.values()):
            written = "".join(each.log({}))
            assert not [secret for secret in (password, *keys.values()) if secret in written]
        for service in services:
            name = service["metadata"]["name"]
            [each] = [each for each in kubernetes.running.values() if each.name == name]
            [container] = each.spec["containers"]
            limit = mebibytes(container["resources"]["limits"]["memory"])
            assert memory(each.containers) < limit, name
    assert len(list((tmp_path / "data").glob("08_reporting/metrics.json/*/metrics.json"))) == 1
