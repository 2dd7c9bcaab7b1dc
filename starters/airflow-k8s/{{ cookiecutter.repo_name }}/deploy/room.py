"""Whether the cluster has the cores and the memory that an installation asks for."""

import json
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator
from typing import Any

from tools import CONTEXT, NAMESPACE, OVERLAYS, kubectl, scope

RESOURCES = ("cpu", "memory")
UNITS = {"": 1.0, "m": 1e-3, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12}
UNITS |= {"Ki": 2.0**10, "Mi": 2.0**20, "Gi": 2.0**30, "Ti": 2.0**40}


def parse(manifests: str) -> list[dict[str, Any]]:
    """Read YAML by kubectl, since Python alone cannot."""
    command = ["create", "--dry-run=client", "--validate=false", "--filename=-"]
    printed = kubectl(*command, "--output=jsonpath={@}{'\\n'}", input=manifests)
    return [json.loads(line) for line in printed.splitlines() if line]


def check_room(objects: Iterable[dict[str, Any]]) -> None:
    """Say what these objects ask for, and stop if the cluster of `make cluster` lacks it.

    Another cluster may get more nodes when they are needed, or hide them.
    """
    asked = f"OVERLAYS={OVERLAYS}: Airflow asks for {amounts(wanted := needs(objects))}"
    command = ["kubectl", *scope(), "get", "nodes,pods", "--all-namespaces", "--output=json"]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        print(f"{asked}, and the cluster does not show what it has.")
        return
    left = room(json.loads(done.stdout)["items"])
    said = f"{asked}, and the cluster has {amounts(left)} left."
    if not CONTEXT and any(wanted[each] > left[each] for each in RESOURCES):
        sys.exit(f"{said} Choose other overlays, or give it more.")
    print(said)


def needs(objects: Iterable[dict[str, Any]]) -> dict[str, float]:
    """Sum up the cores and the bytes that all pods of these objects ask for."""
    total = dict.fromkeys(RESOURCES, 0.0)
    for replicas, pod in pods(objects):
        for each in RESOURCES:
            total[each] += replicas * requested(pod, each)
    return total


def room(items: Iterable[dict[str, Any]]) -> dict[str, float]:
    """Sum up what nodes for any pod have, and the pods of other namespaces leave."""
    items = list(items)
    nodes = {
        item["metadata"]["name"]: item["status"]["allocatable"]
        for item in items
        if item["kind"] == "Node"
        and all(taint["effect"] == "PreferNoSchedule" for taint in item["spec"].get("taints", ()))
    }
    left = {each: sum(quantity(node[each]) for node in nodes.values()) for each in RESOURCES}
    for item in items:
        if (
            item["kind"] == "Pod"
            and item["spec"].get("nodeName") in nodes
            and item["metadata"]["namespace"] != NAMESPACE
            and item["status"]["phase"] not in ("Failed", "Succeeded")
        ):
            for each in RESOURCES:
                left[each] -= requested(item["spec"], each)
    return left


def pods(objects: Iterable[dict[str, Any]]) -> Iterator[tuple[int, dict[str, Any]]]:
    """List how many pods these objects start, and their specifications."""
    for item in objects:
        spec = item.get("spec", {})
        spec = spec.get("jobTemplate", {}).get("spec", spec)
        if "containers" in spec.get("template", {}).get("spec", {}):
            yield spec.get("replicas", 1), spec["template"]["spec"]


def requested(pod: dict[str, Any], resource: str) -> float:
    """Sum up what a pod's containers ask for; the first ones run before the others."""

    def of(container: dict[str, Any]) -> float:
        return quantity(container.get("resources", {}).get("requests", {}).get(resource, "0"))

    first = [of(container) for container in pod.get("initContainers") or ()]
    return max([sum(map(of, pod["containers"])), *first])


def quantity(text: str) -> float:
    """Read an amount as Kubernetes writes it: 500m, 2, 64Mi."""
    [(number, unit)] = re.findall(r"^([\d.]+)([A-Za-z]*)$", text)
    return float(number) * UNITS[unit]


def amounts(resources: dict[str, float]) -> str:
    return f"{resources['cpu']:.3g} cores and {resources['memory'] / 2**30:.3g} GiB of memory"
