"""What the verbs share: their settings, the tools that they call, and the cluster."""

import functools
import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
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
say = functools.partial(print, flush=True)


def engine() -> str:
    """Choose what builds images: ENGINE, or else what there is."""
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


def local_cluster() -> tuple[str, str] | None:
    """Find the cluster of `make cluster`: the tool that made it, and its context."""
    if shutil.which("kind") and NAME in run("kind", "get", "clusters").split():
        return "kind", f"kind-{NAME}"
    if shutil.which("minikube"):
        command = ["minikube", "profile", "list", "--light", "--output=json"]
        listed = subprocess.run(command, check=False, capture_output=True, text=True).stdout
        try:
            profiles = json.loads(listed).get("valid") or []
        except ValueError:  # said in words that there is none
            profiles = []
        if NAME in [profile["Name"] for profile in profiles]:
            return "minikube", NAME
    return None


@functools.cache
def scope() -> tuple[str, ...]:
    """Say which cluster and namespace kubectl acts on."""
    if CONTEXT:
        context = CONTEXT
    else:
        require(cluster_tool())
        found = local_cluster()
        if not found:
            sys.exit(
                f"There is no cluster {NAME}. Make it by `make cluster`, or choose one of "
                "`kubectl config get-contexts` by CONTEXT=..."
            )
        context = found[1]
    return "--context", context, "--namespace", NAMESPACE


def kubectl(*arguments: str, input: str | None = None) -> str:
    return run("kubectl", *scope(), *arguments, input=input)


def helm(*arguments: str) -> str:
    return run("helm", *helm_scope(), *arguments)


def helm_scope() -> list[str]:
    _, context, *namespace = scope()
    return ["--kube-context", context, *namespace]


def run(*command: str, input: str | None = None) -> str:
    """Run a command for what it prints."""
    with tempfile.TemporaryFile("w+") as said:
        streams = {"input": input, "stdout": subprocess.PIPE, "stderr": said}
        done = subprocess.run(command, check=False, text=True, **streams)
        if done.returncode:
            sys.exit(failure(command, said))
    return done.stdout


def show(*command: str) -> None:
    """Run a command that shows itself how far it is, beside what a verb prints."""
    streams = {"stdin": subprocess.DEVNULL, "stdout": sys.stderr}
    if subprocess.run(command, check=False, **streams).returncode:
        sys.exit(f"{shlex.join(command)} has failed, see above.")


def failure(command: list[str] | tuple[str, ...], said: Any) -> str:
    """Say which command has failed, and what it said last."""
    said.seek(0)
    lines = [line for line in said.read().splitlines() if line.strip()]
    return "\n".join([f"{shlex.join(command)} has failed:", *lines[-3:]])


def stop(process: subprocess.Popen) -> None:
    """End a process, if it has not ended, and wait for it."""
    process.terminate()
    process.wait()


@functools.cache
def configuration() -> Any:
    """Load the project's configuration as its tasks do on Airflow."""
    from kedro.framework.project import settings
    from kedro.framework.startup import bootstrap_project

    bootstrap_project(PROJECT)
    return settings.CONFIG_LOADER_CLASS(
        conf_source=str(PROJECT / "conf"), env="airflow", **settings.CONFIG_LOADER_ARGS
    )


def runners() -> set[str]:
    """Read what starts the pods of the project's DAGs: `pod`, `executor` or both."""
    blocks = configuration()["airflow"].values()
    return {block["runner"] for block in blocks if isinstance(block, dict) and "runner" in block}


def storage() -> str:
    """Read where Airflow's data lives: a folder, or a URL."""
    return str(configuration()["globals"]["storage"])
