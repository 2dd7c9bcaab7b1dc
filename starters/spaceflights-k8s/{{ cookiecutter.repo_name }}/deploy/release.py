"""Deploy the images that were built: `make deploy`, the last part of `make up`.

No package is needed, so that none runs with the right to deploy.
"""

import base64
import functools
import json
import secrets
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from images import labels, load, push
from overlays import arguments
from room import check_room, parse
from tools import (
    CONTEXT,
    NAME,
    NAMESPACE,
    OVERLAYS,
    POLL,
    RELEASE,
    Process,
    engine,
    helm,
    kubectl,
    main,
    require,
    require_registry,
    run,
    scope,
)

CHART = ("airflow", "--repo", "https://airflow.apache.org", "--version", "1.22.0")
CLAIM = ("accessModes", "resources", "storageClassName")
WAIT = ("--wait", "--timeout", "15m")


def deploy() -> str:
    """Bring the images to the cluster, and install Airflow or upgrade it.

    Returns:
        The reference of the project's image.
    """
    built = labels()
    values = check(set(built["kedro.runners"].split()))
    print("Bringing the images to the cluster")
    images = push() if CONTEXT else load()
    print(f"Preparing the namespace {NAMESPACE}")
    if not kubectl("get", "namespace", NAMESPACE, "--ignore-not-found", "--output=name"):
        kubectl("create", "namespace", NAMESPACE)
    with_database = "laptop" in OVERLAYS.split()
    make_secrets(with_database)
    if with_database:
        kubectl("apply", "--filename", "deploy/postgresql.yaml")
        print("Waiting for PostgreSQL")
        kubectl("rollout", "status", f"statefulset/{NAME}-postgresql", "--timeout=5m")
    if "://" not in built["kedro.storage"]:
        kubectl("apply", "--filename", "deploy/data.yaml")
    print("Installing Airflow, which takes some minutes")
    install(images, values)
    return images[0]


def check(runners: set[str]) -> list[str]:
    """Stop unless the images can be deployed, and say how helm is told the values."""
    overlays = OVERLAYS.split()
    try:
        values = arguments(overlays)
    except ValueError as error:
        sys.exit(f"OVERLAYS: {error}")
    require("kubectl", "helm", engine())
    if CONTEXT:
        require_registry()
    if "executor" in runners and "executor-kubernetes" not in overlays:
        sys.exit(
            "conf/airflow/airflow.yml has `runner: executor`, which needs KubernetesExecutor: "
            "OVERLAYS=executor-kubernetes, without laptop."
        )
    scope()
    rendered(*values)
    return values


@functools.cache
def rendered(*values: str) -> list[dict[str, Any]]:
    """Render what would be installed, and stop unless the cluster has room for it."""
    manifests = run(*helm("template", RELEASE, *CHART, *values))
    if "laptop" in OVERLAYS.split():
        manifests += "\n---\n" + Path("deploy/postgresql.yaml").read_text()
    objects = parse(manifests)
    check_room(objects)
    return objects


def make_secrets(with_database: bool) -> None:
    """Make what values.yaml asks for, once: a later change would lock Airflow out."""
    password = secrets.token_urlsafe(24)
    connection = f"postgresql://airflow:{password}@{NAME}-postgresql:5432/airflow"
    wanted = {
        f"{NAME}-database": {"password": password, "connection": connection},
        f"{NAME}-keys": {
            "fernet-key": base64.urlsafe_b64encode(secrets.token_bytes(32)).decode(),
            "api-secret-key": secrets.token_urlsafe(48),
            "jwt-secret": secrets.token_urlsafe(48),
            "admin-password": secrets.token_urlsafe(16),
        },
    }
    for name, values in wanted.items():
        if kubectl("get", "secret", name, "--ignore-not-found", "--output=name"):
            continue
        if name == f"{NAME}-database" and not with_database:
            sys.exit(
                f"There is no secret {name} in the namespace {NAMESPACE}. Create it with the key "
                "connection, as deploy/values.yaml says, for your PostgreSQL."
            )
        secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}}
        kubectl("create", "--filename", "-", input=json.dumps({**secret, "stringData": values}))


def install(images: list[str], values: list[str]) -> None:
    """Install or upgrade the chart, and restore what ran before if that fails."""
    objects = rendered(*values)
    project, airflow = images
    # Of a digest, @sha256 is left to the repository: KubernetesExecutor puts a : between the two.
    repository, _, tag = airflow.rpartition(":")
    values = [*values, "--set-string", f"env[0].value={project}"]  # KEDRO_IMAGE
    values += ["--set-string", f"images.airflow.repository={repository}"]
    values += ["--set-string", f"images.airflow.tag={tag}"]
    deployed = run(*helm("list", "--filter", f"^{RELEASE}$", "--deployed", "--output=json"))
    error = follow(objects, "upgrade", "--install", RELEASE, *CHART, *values, *WAIT)
    if error and (before := json.loads(deployed)):
        print(f"{error}\nRestoring what ran before")
        revision = str(before[0]["revision"])
        objects = parse(run(*helm("get", "manifest", RELEASE, "--revision", revision)))
        error = follow(objects, "rollback", RELEASE, revision, *WAIT)
        error = error or "The upgrade has failed, see above. What ran before runs again."
    if error:
        sys.exit(error)


def follow(objects: list[dict[str, Any]], *arguments: str) -> str:
    """Let helm apply these objects, show how the pods come up, and return how it failed, or ""."""
    make_way(objects)
    known: dict[str, str] = {}
    process = Process(*helm(*arguments))
    while process.poll() is None:
        watch(known)
        with suppress(subprocess.TimeoutExpired):
            process.wait(POLL)
    return process.failure() if process.returncode else ""


def make_way(objects: list[dict[str, Any]]) -> None:
    """Delete what Kubernetes cannot change: jobs, and StatefulSets, whose pods and volumes stay."""
    jobs = [f"{RELEASE}-run-airflow-migrations", f"{RELEASE}-create-user"]
    kubectl("delete", "job", *jobs, "--ignore-not-found")
    wanted = {
        item["metadata"]["name"]: fixed(item) for item in objects if item["kind"] == "StatefulSet"
    }
    found = kubectl("get", "statefulsets", f"--selector=release={RELEASE}", "--output=json")
    for item in json.loads(found)["items"]:
        name = item["metadata"]["name"]
        if wanted.get(name, fixed(item)) != fixed(item):
            print(f"Replacing {name}, whose volumes stay as they are")
            kubectl("delete", "statefulset", name, "--cascade=orphan")


def fixed(stateful: dict[str, Any]) -> tuple[Any, ...]:
    """List what of a StatefulSet cannot be changed."""
    spec = stateful["spec"]
    claims = [
        (claim["metadata"]["name"], *map(claim["spec"].get, CLAIM))
        for claim in spec.get("volumeClaimTemplates", ())
    ]
    policy = spec.get("podManagementPolicy", "OrderedReady")
    return spec["serviceName"], spec["selector"], policy, claims


def watch(known: dict[str, str]) -> None:
    """Show the pods of Airflow that are in another state than before.

    A StatefulSet waits for ever for a broken pod of an older version: such a pod is deleted.
    """
    command = ["kubectl", *scope(), "get", "statefulsets,pods", f"--selector=release={RELEASE}"]
    done = subprocess.run([*command, "--output=json"], capture_output=True, text=True)
    items = json.loads(done.stdout)["items"] if done.returncode == 0 else []
    revisions = {
        item["metadata"]["name"]: item["status"].get("updateRevision")
        for item in items
        if item["kind"] == "StatefulSet"
    }
    for pod in items:
        about = pod["metadata"]
        if pod["kind"] != "Pod" or "deletionTimestamp" in about:
            continue
        state = pod_state(pod["status"])
        if known.get(about["name"]) != state:
            known[about["name"]] = state
            print(f"  {state:17} {about['name']}")
        owner = about.get("ownerReferences", [{"name": None}])[0]["name"]
        revision = about.get("labels", {}).get("controller-revision-hash")
        if owner in revisions and revision != revisions[owner] and state != "ready":
            kubectl("delete", "pod", about["name"], "--ignore-not-found", "--wait=false")


def pod_state(status: dict[str, Any]) -> str:
    """Say in a word how a pod is: ready, the reason why not, or its phase."""
    conditions = {each["type"]: each["status"] for each in status.get("conditions", [])}
    if conditions.get("Ready") == "True":
        return "ready"
    containers = status.get("initContainerStatuses", []) + status.get("containerStatuses", [])
    for container in containers:
        reason = container.get("state", {}).get("waiting", {}).get("reason")
        if reason not in (None, "ContainerCreating", "PodInitializing"):
            return str(reason)
    return str(status["phase"]).lower()


if __name__ == "__main__":
    main(deploy)
