"""What helm installs, in podman's containers on a network of their own.

Each pod has its own address, its name as Kubernetes would give it, and its service account; what
DNS does for a cluster is in their /etc/hosts. kubernetes_api.py starts the pods, so it lacks what
that lacks, and also probes, containers that wait for the migrations, log groomers, and restarts.
"""

import ipaddress
import json
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from copy import deepcopy
from pathlib import Path
from typing import Any
from uuid import uuid4

import psutil

from tests.k8s.test_pods import wait_for
from tests.standins.kubernetes_api import ROLES, SERVICE_ACCOUNT, KubernetesApi, podman

WORKLOADS = ("Deployment", "Job", "StatefulSet")
DEBIAN = "localhost/image-test-debian"
LACKING = ("lifecycle", "livenessProbe", "ports", "readinessProbe", "startupProbe")


def pods(workload: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Make the pods of a Job, Deployment or StatefulSet."""
    name, stateful = workload["metadata"]["name"], workload["kind"] == "StatefulSet"
    for number in range(workload["spec"].get("replicas", 1)):
        template = deepcopy(workload["spec"]["template"])
        spec, pod = template["spec"], f"{name}-{number}"
        for field in ("affinity", "initContainers"):
            spec.pop(field, None)
        groomed = [each for each in spec["containers"] if not each["name"].endswith("-log-groomer")]
        spec["containers"] = groomed
        for container in groomed:
            for field in LACKING:
                container.pop(field, None)
        for claim in workload["spec"].get("volumeClaimTemplates", []):
            volume = claim["metadata"]["name"]
            claimed = {"persistentVolumeClaim": {"claimName": f"{volume}-{pod}"}}
            spec["volumes"] = [*(spec.get("volumes") or []), {"name": volume, **claimed}]
        if stateful:
            spec["subdomain"] = workload["spec"]["serviceName"]
        metadata = {"name": pod, "labels": template["metadata"]["labels"]}
        yield {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


class Installation:
    """The pods of these manifests, as a context manager.

    Args:
        folder: for the volumes, and what the stand-in needs.
        manifests: what helm has rendered, and other objects.
        secrets: the data of Secrets, not encoded.
        volumes: the folders of claims that the tasks' pods have.
    """

    def __init__(
        self,
        folder: Path,
        manifests: list[dict[str, Any]],
        secrets: Mapping[str, Mapping[str, str]],
        volumes: Mapping[str, Path],
    ) -> None:
        self.folder, self.manifests = folder, manifests
        self.secrets, self.volumes = secrets, dict(volumes)
        self.pods = [pod for each in manifests if each["kind"] in WORKLOADS for pod in pods(each)]
        self.images = {
            container["image"] for pod in self.pods for container in pod["spec"]["containers"]
        }
        self.workloads, self.jobs = (
            [each["metadata"]["name"] for each in manifests if each["kind"] in kinds]
            for kinds in (WORKLOADS, ("Job",))
        )

    def __enter__(self) -> "Installation":
        network = f"installation-{uuid4().hex[:12]}"
        with ExitStack() as stack:
            podman("network", "create", "--internal", network)
            stack.callback(podman, "network", "rm", "--force", network, check=False)
            [found] = json.loads(podman("network", "inspect", network).stdout)
            [subnet] = found["subnets"]
            last = reversed([*ipaddress.ip_network(subnet["subnet"]).hosts()])
            names = [pod["metadata"]["name"] for pod in self.pods]
            self.addresses = dict(zip(names, map(str, last), strict=False))
            self.write_hosts()
            volumes = [volume for pod in self.pods for volume in pod["spec"].get("volumes") or []]
            for volume in volumes:
                if claim := volume.get("persistentVolumeClaim", {}).get("claimName"):
                    self.volumes.setdefault(claim, self.folder / claim).mkdir(exist_ok=True)
            maps = {
                each["metadata"]["name"]: each["data"] for each in self.manifests if "data" in each
            }
            # The network exists as long as it has a container.
            first = podman("run", "--detach", f"--network={network}", DEBIAN, "sleep", "infinity")
            stack.callback(podman, "rm", "--force", "--time=0", first.stdout.strip())
            places = (self.folder / "kubernetes", self.volumes, self.secrets, maps)
            options = {
                "network": network,
                "addresses": self.addresses,
                "address": subnet["gateway"],
            }
            self.kubernetes = stack.enter_context(KubernetesApi(*places, **options))
            self.stack = stack.pop_all()
        return self

    def __exit__(self, *details: Any) -> None:
        self.stack.__exit__(*details)

    def write_hosts(self) -> None:
        """Write the names of all pods and Services."""
        lines = ["127.0.0.1 localhost"]
        services = [each for each in self.manifests if each["kind"] == "Service"]
        for pod in self.pods:
            name, domain = pod["metadata"]["name"], pod["spec"].get("subdomain")
            names = [f"{name}.{domain}.default.svc.cluster.local", name] if domain else [name]
            labels = pod["metadata"]["labels"].items()
            names += [
                each["metadata"]["name"]
                for each in services
                if each["spec"]["selector"].items() <= labels
            ]
            lines.append(" ".join([self.addresses[name], *names]))
        (self.folder / "hosts").write_text("\n".join([*lines, ""]))

    def start(self, workload: str) -> None:
        """Start the pods of a workload; wait for those of a job to succeed."""
        pods = [pod for pod in self.pods if pod["metadata"]["name"].rpartition("-")[0] == workload]
        names = {self.start_pod(pod) for pod in pods}
        if workload in self.jobs:
            wait_for(
                lambda: {self.phases()[name] for name in names} <= {"Failed", "Succeeded"}, 600
            )
            failed = [name for name in names if self.phases()[name] == "Failed"]
            assert not failed, self.log(*failed)

    def start_pod(self, pod: dict[str, Any]) -> str:
        """Start a pod with the names of the others and its service account, and return its name."""
        spec, name = deepcopy(pod["spec"]), pod["metadata"]["name"]
        mounts = {"hosts": ("/etc/hosts", self.folder / "hosts")}
        if (service := pod["metadata"]["labels"].get("component")) in ROLES:
            mounts["account"] = (SERVICE_ACCOUNT, self.kubernetes.folder / service)
        for container in spec["containers"]:
            more = self.kubernetes.environment | {"NO_PROXY": "*", "no_proxy": "*"}
            container["env"] = [
                *(container.get("env") or []),
                *({"name": key, "value": more[key]} for key in more),
            ]
            container.setdefault("volumeMounts", [])
            for volume, (path, _) in mounts.items():
                mount = {"name": volume, "mountPath": path, "readOnly": True}
                container["volumeMounts"].append(mount)
        spec["volumes"] = [
            *(spec.get("volumes") or []),
            *({"name": key, "hostPath": {"path": str(mounts[key][1])}} for key in mounts),
        ]
        self.kubernetes.create("default", {**pod, "spec": spec})
        return name

    def phases(self) -> dict[str, str]:
        """The phase of each pod by its name."""
        return {pod["metadata"]["name"]: pod["status"]["phase"] for pod in self.kubernetes.pods()}

    def memory(self, name: str) -> float:
        """The memory of all processes in a pod, in mebibytes."""
        containers = self.kubernetes.running["default", name].containers
        found = podman("inspect", "--format={{.State.Pid}}", *containers).stdout.split()
        mains = [psutil.Process(int(number)) for number in found]
        processes = [each for main in mains for each in (main, *main.children(recursive=True))]
        return sum(process.memory_full_info().pss for process in processes) / 2**20

    def log(self, *names: str) -> str:
        """What these pods have written, or all."""
        pods = [
            pod for pod in list(self.kubernetes.running.values()) if not names or pod.name in names
        ]
        return "".join(line for pod in pods for line in pod.log({}))
