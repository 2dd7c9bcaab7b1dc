"""The Makefile's verbs for images and clusters: `python deploy/cluster.py VERB`.

All act on the cluster of `make cluster`, or on CONTEXT, one of `kubectl config get-contexts`, and
never on kubectl's current context. Secrets reach kubectl by its input only.
"""

import base64
import json
import os
import secrets
import shlex
import signal
import subprocess
import sys
from contextlib import suppress
from typing import Any

from images import image, load, push
from overlays import arguments
from raw_data import data
from runs import logs, trigger
from tools import (
    CONTEXT,
    NAME,
    NAMESPACE,
    OVERLAYS,
    POLL,
    PROJECT,
    RELEASE,
    Process,
    cluster_tool,
    engine,
    helm,
    kubectl,
    local_cluster,
    require,
    require_registry,
    run,
    runners,
    scope,
    show,
    storage,
)

CHART = ("airflow", "--repo", "https://airflow.apache.org", "--version", "1.22.0")
WAIT = ("--wait", "--timeout", "15m")


def cluster() -> None:
    """Make a cluster on this machine, by kind or minikube, unless there is one."""
    if CONTEXT:
        sys.exit("CONTEXT names an existing cluster: `make cluster` creates its own.")
    require(cluster_tool(), *([engine()] if cluster_tool() == "kind" else []))
    tool, context = local_cluster()
    if (tool or cluster_tool()) == "minikube":  # which starts again a cluster that was stopped
        show("minikube", "start", "--profile", NAME, "--memory", "4g")
    elif context:
        print(f"There is a cluster {NAME} already. Its context is {context}.")
    else:
        show("kind", "create", "cluster", "--name", NAME, "--wait", "5m")


def up() -> None:
    """Build the images, bring them to the cluster, and install Airflow or upgrade it."""
    overlays = OVERLAYS.split()
    try:
        values = arguments(overlays)
    except ValueError as error:
        sys.exit(f"OVERLAYS: {error}")
    require("kubectl", "helm", engine())
    if CONTEXT:
        require_registry()
    if "executor" in runners() and "executor-kubernetes" not in overlays:
        sys.exit(
            "conf/airflow/airflow.yml has `runner: executor`, which needs KubernetesExecutor: "
            "OVERLAYS=executor-kubernetes, without laptop."
        )
    scope()
    images = image()
    print("Bringing the images to the cluster")
    images = push() if CONTEXT else load(images)
    print(f"Preparing the namespace {NAMESPACE}")
    if not kubectl("get", "namespace", NAMESPACE, "--ignore-not-found", "--output=name"):
        kubectl("create", "namespace", NAMESPACE)
    make_secrets("laptop" in overlays)
    if "laptop" in overlays:
        kubectl("apply", "--filename", "deploy/postgresql.yaml")
        print("Waiting for PostgreSQL")
        kubectl("rollout", "status", f"statefulset/{NAME}-postgresql", "--timeout=5m")
    if "://" not in storage():
        kubectl("apply", "--filename", "deploy/data.yaml")
    if CONTEXT:
        print("Leaving the raw data as it is: `make data` brings data/01_raw/")
    else:
        data(images[0])
    print("Installing Airflow, which takes some minutes")
    install(images, values)
    kubernetes = shlex.join(["kubectl", *scope()])
    password = f"get secret {NAME}-keys --output=jsonpath=" + "'{.data.admin-password}'"
    print(
        f"Airflow runs. To open it as the user admin, at http://localhost:8080:\n"
        f"  {kubernetes} port-forward svc/{RELEASE}-api-server 8080\n"
        f"This shows the password:\n"
        f"  {kubernetes} {password} | base64 --decode"
    )


def down() -> None:
    """Delete the cluster of `make cluster` with all that is in it; from another, only Airflow."""
    if CONTEXT:
        require("helm")
        run(*helm("uninstall", RELEASE, "--ignore-not-found", *WAIT))
        print(
            f"Uninstalled {RELEASE} from {CONTEXT}. Volumes, secrets and what else is in the "
            f"namespace {NAMESPACE} stay. To delete all that too:\n"
            f"  kubectl --context {CONTEXT} delete namespace {NAMESPACE}"
        )
        return
    require(cluster_tool())
    tool, _ = local_cluster()
    if not tool:
        print(f"There is no cluster {NAME}.")
        return
    if tool == "kind":
        show("kind", "delete", "cluster", "--name", NAME)
    else:
        show("minikube", "delete", "--profile", NAME)
    print(f"Deleted the cluster {NAME} with Airflow, its database and its volumes.")


def make_secrets(with_database: bool) -> None:
    """Make what values.yaml asks for, once: a later change would lock Airflow out."""
    password = secrets.token_urlsafe(24)
    connection = f"postgresql://airflow:{password}@{NAME}-postgresql:5432/airflow"
    wanted = {
        f"{NAME}-database": {"password": password, "connection": connection},
        f"{NAME}-keys": {
            "fernet-key": base64.urlsafe_b64encode(secrets.token_bytes(32)).decode(),
            "api-secret-key": secrets.token_urlsafe(32),
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
    """Install or upgrade the chart; on another cluster than our own, restore it if that fails."""
    project, airflow = images
    # Of a digest, @sha256 is left to the repository: KubernetesExecutor puts a : between the two.
    repository, _, tag = airflow.rpartition(":")
    values += ["--set-string", f"env[0].value={project}"]  # KEDRO_IMAGE
    values += ["--set-string", f"images.airflow.repository={repository}"]
    values += ["--set-string", f"images.airflow.tag={tag}"]
    deployed = run(*helm("list", "--filter", f"^{RELEASE}$", "--deployed", "--output=json"))
    error = follow("upgrade", "--install", RELEASE, *CHART, *values, *WAIT)
    if error and CONTEXT and (before := json.loads(deployed)):
        print(f"{error}\nRestoring what ran before")
        error = follow("rollback", RELEASE, str(before[0]["revision"]), *WAIT)
        error = error or "The upgrade has failed, see above. What ran before runs again."
    if error:
        sys.exit(error)


def follow(*arguments: str) -> str:
    """Run helm, show meanwhile how the pods come up, and return what it said last if it failed."""
    # Jobs cannot be changed.
    jobs = [f"{RELEASE}-run-airflow-migrations", f"{RELEASE}-create-user"]
    kubectl("delete", "job", *jobs, "--ignore-not-found")
    known: dict[str, str] = {}
    process = Process(*helm(*arguments))
    while process.poll() is None:
        watch(known)
        with suppress(subprocess.TimeoutExpired):
            process.wait(POLL)
    return process.failure() if process.returncode else ""


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


def main() -> None:
    """Run a verb; an error is one message, and nothing that was started stays."""
    verbs = {verb.__name__: verb for verb in (image, push, cluster, up, data, trigger, logs, down)}
    if len(sys.argv) != 2 or sys.argv[1] not in verbs:
        sys.exit(f"usage: python deploy/cluster.py {'|'.join(verbs)}")
    if not (NAMESPACE and RELEASE):
        sys.exit(f"NAMESPACE and RELEASE must be set. `make {sys.argv[1]}` does that.")
    os.chdir(PROJECT)
    if engine() == "podman":
        os.environ["KIND_EXPERIMENTAL_PROVIDER"] = "podman"
    os.environ["BUILDX_NO_DEFAULT_ATTESTATIONS"] = "1"  # they would change the id of each build
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("Terminated"))
    try:
        verbs[sys.argv[1]]()
    except KeyboardInterrupt:
        sys.exit("Interrupted")


if __name__ == "__main__":
    main()
