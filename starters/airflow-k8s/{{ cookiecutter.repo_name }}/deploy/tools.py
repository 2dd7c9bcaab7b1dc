"""What the verbs share: their settings, the tools that they call, and the cluster."""

import atexit
import functools
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parents[1]
NAME = "{{ cookiecutter.python_package.replace('_', '-') }}"
DAG = "{{ cookiecutter.python_package }}"
INSTALL = {
    "docker": "https://docs.docker.com/get-started/get-docker (or podman: https://podman.io)",
    "helm": "https://helm.sh/docs/intro/install",
    "kind": "https://kind.sigs.k8s.io/docs/user/quick-start/#installation (or minikube)",
    "kubectl": "https://kubernetes.io/docs/tasks/tools",
    "podman": "https://podman.io/docs/installation",
}
POLL = 2.0  # seconds

ENGINE, REGISTRY, CONTEXT, OVERLAYS, NAMESPACE, RELEASE = (
    os.environ.get(name, "").strip().rstrip("/")
    for name in ("ENGINE", "REGISTRY", "CONTEXT", "OVERLAYS", "NAMESPACE", "RELEASE")
)


def engine() -> str:
    """Choose what builds images: ENGINE, or else what is installed."""
    if ENGINE not in ("", "docker", "podman"):
        sys.exit(f"ENGINE is {ENGINE}: choose docker or podman.")
    return ENGINE or next(filter(shutil.which, ("docker", "podman")), "docker")


def cluster_tool() -> str:
    """Choose what makes a cluster."""
    return next(filter(shutil.which, ("kind", "minikube")), "kind")


def require(*tools: str) -> None:
    """Stop unless these tools are installed."""
    missing = [f"{tool} is missing: {INSTALL[tool]}" for tool in tools if not shutil.which(tool)]
    if missing:
        sys.exit("\n".join(missing))


def require_registry() -> None:
    """Stop unless there is a registry to push to."""
    if not REGISTRY:
        sys.exit("REGISTRY is not set. Say where the images go, as in REGISTRY=ghcr.io/OWNER.")


def local_cluster() -> tuple[str, str]:
    """Find the cluster of `make cluster`: the tool that made it, and its context, or two ""."""
    if shutil.which("kind") and NAME in run("kind", "get", "clusters").split():
        return "kind", f"kind-{NAME}"
    if shutil.which("minikube"):
        command = ["minikube", "profile", "list", "--light", "--output=json"]
        listed = subprocess.run(command, capture_output=True, text=True).stdout
        with suppress(ValueError):  # when it says in words that there are none
            if NAME in [profile["Name"] for profile in json.loads(listed).get("valid") or []]:
                return "minikube", NAME
    return "", ""


@functools.cache
def scope() -> tuple[str, ...]:
    """Say which cluster and namespace kubectl acts on."""
    if not CONTEXT:
        require(cluster_tool())
    context = CONTEXT or local_cluster()[1]
    if not context:
        sys.exit(
            f"There is no cluster {NAME}. Create it with `make cluster`, or choose one of "
            "`kubectl config get-contexts` by CONTEXT=..."
        )
    return "--context", context, "--namespace", NAMESPACE


def kubectl(*arguments: str, input: str | None = None) -> str:
    return run("kubectl", *scope(), *arguments, input=input)


def helm(*arguments: str) -> list[str]:
    """Say how helm is called."""
    _, context, *namespace = scope()
    return ["helm", "--kube-context", context, *namespace, *arguments]


def run(*command: str, input: str | None = None) -> str:
    """Run a command for what it prints."""
    try:
        return subprocess.check_output(command, input=input, stderr=subprocess.PIPE, text=True)
    except subprocess.CalledProcessError as error:
        sys.exit(failure(command, error.stderr))


def show(*command: str) -> None:
    """Run a command that shows itself how far it is, beside what a verb prints."""
    if subprocess.run(command, stdin=subprocess.DEVNULL, stdout=sys.stderr).returncode:
        sys.exit(f"{shlex.join(command)} has failed, see above.")


class Process(subprocess.Popen[bytes]):
    """A command that runs beside this program, and ends with it at the latest."""

    def __init__(self, *command: str, stdin: int = subprocess.DEVNULL) -> None:
        self.command, self.said = command, tempfile.TemporaryFile("w+")
        super().__init__(command, stdin=stdin, stdout=self.said, stderr=self.said)
        atexit.register(self.wait)  # the last that is registered is the first that is called
        atexit.register(self.terminate)

    def failure(self) -> str:
        self.said.seek(0)
        return failure(self.command, self.said.read())


def failure(command: Sequence[str], said: str) -> str:
    """Say which command has failed, and what it said last."""
    lines = [line for line in said.splitlines() if line.strip()]
    return "\n".join([f"{shlex.join(command)} has failed:", *lines[-3:]])


@functools.cache
def configuration() -> Any:
    """Load the project's configuration as its tasks do on Airflow."""
    from kedro.framework.project import settings
    from kedro.framework.startup import bootstrap_project

    bootstrap_project(PROJECT)
    loader = settings.CONFIG_LOADER_CLASS(
        conf_source=str(PROJECT / "conf"), env="airflow", **settings.CONFIG_LOADER_ARGS
    )
    loader.config_patterns.setdefault("airflow", ["airflow*", "airflow/**"])  # as kedro-airflow
    return loader


def runners() -> set[str]:
    """Read what starts the pods of the project's DAGs: `pod`, `executor` or both."""
    blocks = configuration()["airflow"].values()
    return {block["runner"] for block in blocks if isinstance(block, dict) and "runner" in block}


def storage() -> str:
    """Read where Airflow's data lives: a folder, or a URL."""
    return str(configuration()["globals"]["storage"])


def main(*functions: Callable[[], object]) -> None:
    """Run a verb; an error is one message, and nothing that was started stays."""
    verbs = {verb.__name__: verb for verb in functions}
    if len(sys.argv) != 2 or sys.argv[1] not in verbs:
        sys.exit(f"usage: python {sys.argv[0]} {'|'.join(verbs)}")
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
