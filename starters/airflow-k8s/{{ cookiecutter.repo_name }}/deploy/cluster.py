"""The Makefile's verbs for images and clusters: `python deploy/cluster.py VERB`.

All act on the cluster of `make cluster`, or on CONTEXT, one of `kubectl config get-contexts`, and
never on kubectl's current context. Secrets reach kubectl by its input only.
"""

import shlex
import sys

from images import image, push
from raw_data import data
from release import WAIT, check, deploy
from runs import logs, trigger
from tools import (
    CONTEXT,
    NAME,
    NAMESPACE,
    RELEASE,
    cluster_tool,
    engine,
    helm,
    local_cluster,
    main,
    require,
    run,
    runners,
    scope,
    show,
)


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
    """Build the images, and deploy them."""
    check(runners())
    image()
    project = deploy()
    if CONTEXT:
        print("Leaving the raw data as it is: `make data` brings data/01_raw/")
    else:
        data(project)
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


if __name__ == "__main__":
    main(image, push, cluster, up, data, trigger, logs, down)
