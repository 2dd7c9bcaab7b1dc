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
import tempfile
import urllib.error
from contextlib import suppress
from typing import Any

from images import image, load, push
from overlays import arguments
from raw_data import data
from runs import logs, trigger
from tools import (
    CONTEXT,
    ENGINE,
    NAME,
    NAMESPACE,
    OVERLAYS,
    POLL,
    PROJECT,
    RELEASE,
    cluster_tool,
    engine,
    failure,
    helm,
    helm_scope,
    kubectl,
    local_cluster,
    require,
    require_registry,
    runners,
    say,
    scope,
    show,
    stop,
    storage,
)

CHART = ("airflow", "--repo", "https://airflow.apache.org", "--version", "1.22.0")
WAIT = ("--wait", "--timeout", "15m")


def cluster() -> None:
    """Make a cluster on this machine, by kind or minikube, unless there is one."""
    if CONTEXT:
        sys.exit("CONTEXT names a cluster that there is: `make cluster` makes one of its own.")
    require(cluster_tool(), *([engine()] if cluster_tool() == "kind" else []))
    tool, context = local_cluster() or (cluster_tool(), None)
    if tool == "minikube":  # which starts again a cluster that has been stopped
        show("minikube", "start", "--profile", NAME, "--memory", "4g")
    elif context:
        say(f"There is a cluster {NAME} already. Its context is {context}.")
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
    say("Bringing the images to the cluster")
    images = push() if CONTEXT else load(images)
    say(f"Preparing the namespace {NAMESPACE}")
    if not kubectl("get", "namespace", NAMESPACE, "--ignore-not-found", "--output=name"):
        kubectl("create", "namespace", NAMESPACE)
    make_secrets("laptop" in overlays)
    if "laptop" in overlays:
        kubectl("apply", "--filename", "deploy/postgresql.yaml")
        say("Waiting for PostgreSQL")
        kubectl("rollout", "status", f"statefulset/{NAME}-postgresql", "--timeout=5m")
    if "://" not in storage():
        kubectl("apply", "--filename", "deploy/data.yaml")
    if CONTEXT:
        say("Leaving the raw data as it is: `make data` brings data/01_raw/")
    else:
        data(images[0])
    say("Installing Airflow, which takes some minutes")
    install(images, values)
    kubernetes = shlex.join(["kubectl", *scope()])
    password = f"get secret {NAME}-keys --output=jsonpath=" + "'{.data.admin-password}'"
    say(
        f"Airflow runs. To open it as the user admin, at http://localhost:8080:\n"
        f"  {kubernetes} port-forward svc/{RELEASE}-api-server 8080\n"
        f"This shows the password:\n"
        f"  {kubernetes} {password} | base64 --decode"
    )


def down() -> None:
    """Delete the cluster of `make cluster` with all that is in it; from another, only Airflow."""
    if CONTEXT:
        require("helm")
        helm("uninstall", RELEASE, "--ignore-not-found", *WAIT)
        say(
            f"Uninstalled {RELEASE} from {CONTEXT}. Volumes, secrets and what else is in the "
            f"namespace {NAMESPACE} stay. To delete all that too:\n"
            f"  kubectl --context {CONTEXT} delete namespace {NAMESPACE}"
        )
        return
    require(cluster_tool())
    found = local_cluster()
    if not found:
        say(f"There is no cluster {NAME}.")
    elif found[0] == "kind":
        show("kind", "delete", "cluster", "--name", NAME)
    else:
        show("minikube", "delete", "--profile", NAME)
    if found:
        say(f"Deleted the cluster {NAME} with Airflow, its database and its volumes.")


def make_secrets(with_database: bool) -> None:
    """Make what values.yaml asks for, once: a later change would lock Airflow out."""

    def missing(name: str) -> bool:
        return not kubectl("get", "secret", name, "--ignore-not-found", "--output=name")

    def create(name: str, values: dict[str, str]) -> None:
        secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}}
        kubectl("create", "--filename", "-", input=json.dumps({**secret, "stringData": values}))

    if missing(f"{NAME}-database"):
        if not with_database:
            sys.exit(
                f"There is no secret {NAME}-database in the namespace {NAMESPACE}. Create it with "
                "the key connection, as deploy/values.yaml says, for your PostgreSQL."
            )
        password = secrets.token_urlsafe(24)
        connection = f"postgresql://airflow:{password}@{NAME}-postgresql:5432/airflow"
        create(f"{NAME}-database", {"password": password, "connection": connection})
    if missing(f"{NAME}-keys"):
        keys = {
            "fernet-key": base64.urlsafe_b64encode(secrets.token_bytes(32)).decode(),
            "api-secret-key": secrets.token_urlsafe(32),
            "jwt-secret": secrets.token_urlsafe(48),
            "admin-password": secrets.token_urlsafe(16),
        }
        create(f"{NAME}-keys", keys)


def install(images: list[str], values: list[str]) -> None:
    """Install or upgrade the chart; on another cluster than our own, restore it if that fails."""
    project, airflow = images
    # Of a digest, @sha256 is left to the repository: KubernetesExecutor puts a : between the two.
    repository, _, tag = airflow.rpartition(":")
    settings = {
        "env[0].value": project,  # KEDRO_IMAGE
        "images.airflow.repository": repository,
        "images.airflow.tag": tag,
    }
    values += [part for key in settings for part in ("--set-string", f"{key}={settings[key]}")]
    deployed = ("--filter", f"^{RELEASE}$", "--deployed", "--output=json")
    before = json.loads(helm("list", *deployed))
    error = follow("upgrade", "--install", RELEASE, *CHART, *values, *WAIT)
    if error and CONTEXT and before:
        say(f"{error}\nRestoring what ran before")
        again = follow("rollback", RELEASE, str(before[0]["revision"]), *WAIT)
        sys.exit(again or "The upgrade has failed, see above. What ran before runs again.")
    if error:
        sys.exit(error)


def follow(*arguments: str) -> str | None:
    """Run helm, and show meanwhile how the pods come up.

    Returns:
        What helm has said last, if it has failed.
    """
    # Jobs cannot be changed.
    jobs = [f"{RELEASE}-run-airflow-migrations", f"{RELEASE}-create-user"]
    kubectl("delete", "job", *jobs, "--ignore-not-found")
    command = ["helm", *helm_scope(), *arguments]
    known: dict[str, str] = {}
    with tempfile.TemporaryFile("w+") as said:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=said, stderr=said)
        try:
            while process.poll() is None:
                watch(known)
                with suppress(subprocess.TimeoutExpired):
                    process.wait(POLL)
        finally:
            stop(process)
        return failure(command, said) if process.returncode else None


def watch(known: dict[str, str]) -> None:
    """Show the pods of Airflow that are in another state than before.

    A StatefulSet waits for ever for a broken pod of an older version: such a pod is deleted.
    """
    selector = ["--selector", f"release={RELEASE}", "--output=json"]
    command = ["kubectl", *scope(), "get", "statefulsets,pods", *selector]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
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
            say(f"  {state:17} {about['name']}")
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
            return reason
    return status["phase"].lower()


VERBS = (image, push, cluster, up, data, trigger, logs, down)


def main() -> None:
    """Run a verb; an error is one message, and nothing that was started stays."""
    verbs = {verb.__name__: verb for verb in VERBS}
    if len(sys.argv) != 2 or sys.argv[1] not in verbs:
        sys.exit(f"usage: python deploy/cluster.py {'|'.join(verbs)}")
    if ENGINE not in ("", "docker", "podman"):
        sys.exit(f"ENGINE is {ENGINE}: choose docker or podman.")
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
    except urllib.error.HTTPError as error:
        said = error.read().decode(errors="replace")[:1000]
        sys.exit(f"Airflow answers {error.code} to {error.url}: {said}")


if __name__ == "__main__":
    main()
