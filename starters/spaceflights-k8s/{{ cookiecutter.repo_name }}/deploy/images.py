"""The images of the project and of Airflow."""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import yaml
from tools import (
    NAME,
    REGISTRY,
    engine,
    local_cluster,
    require,
    require_registry,
    run,
    runners,
    show,
)

DOCKERFILES = {NAME: "Dockerfile", f"{NAME}-airflow": "deploy/airflow.Dockerfile"}
LOCAL = "docker.io/library/"  # what Kubernetes puts before an image's name that has no registry


def image() -> list[str]:
    """Build both images: the project's, for the pods of the nodes, and Airflow's.

    Their references NAME:TAG, the project's first, name the content: what has not changed is
    not rolled out again.
    """
    require(engine())
    show(sys.executable, "check_secrets.py")
    airflow = yaml.safe_load(Path("deploy/values.yaml").read_text())["airflowVersion"]
    built = {}
    for name, file in DOCKERFILES.items():
        command = [engine(), "build", "--file", file, "--tag", f"{LOCAL}{name}:latest"]
        if engine() == "podman":
            command += ["--format", "docker"]
        if name == NAME and "executor" in runners():
            extras = "cncf.kubernetes,postgres"  # the executor's, and the driver of the database
            command += ["--build-arg", f"AIRFLOW=apache-airflow[{extras}]=={airflow}"]
        show(*command, ".")
        reference, size = inspect(name)
        show(engine(), "tag", f"{LOCAL}{name}:latest", LOCAL + reference)
        built[reference] = f"{size / 1e6:.0f} MB"
    width = max(map(len, built))
    for reference, megabytes in {"image": "size", **built}.items():
        print(f"{reference:{width}}  {megabytes:>8}")
    return list(built)


def push() -> list[str]:
    """Push both images to REGISTRY, and return REGISTRY/NAME@DIGEST, the project's first."""
    require(engine())
    require_registry()
    pushed = []
    for name in DOCKERFILES:
        reference, _ = inspect(name)
        target = f"{REGISTRY}/{reference}"
        show(engine(), "tag", LOCAL + reference, target)
        if engine() == "podman":  # which may compress anew, so that only push knows the digest
            with tempfile.TemporaryDirectory() as folder:
                show("podman", "push", "--digestfile", f"{folder}/digest", target)
                digest = f"{REGISTRY}/{name}@{Path(folder, 'digest').read_text().strip()}"
        else:
            show("docker", "push", target)
            digests = json.loads(run("docker", "image", "inspect", target))[0]["RepoDigests"]
            [digest, *_] = [each for each in digests if each.startswith(f"{REGISTRY}/{name}@")]
        pushed.append(digest)
    print(*pushed, sep="\n")
    return pushed


def load(images: list[str]) -> list[str]:
    """Load images into the cluster of `make cluster`."""
    tool, _ = local_cluster()
    for reference in images:
        with tempfile.TemporaryDirectory() as folder:
            kind, what = "docker-image", reference
            if engine() == "podman":
                kind, what = "image-archive", f"{folder}/image.tar"
                show("podman", "save", "--output", what, LOCAL + reference)
            if tool == "kind":
                show("kind", "load", kind, what, "--name", NAME)
            else:
                show("minikube", "image", "load", what, "--profile", NAME)
    return images


def inspect(name: str) -> tuple[str, int]:
    """Find an image that was built: NAME:TAG, the tag from its content, and its size in bytes."""
    command = [engine(), "image", "inspect", f"{LOCAL}{name}:latest"]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"There is no image {name}: run `make image`.\n{done.stderr.strip()}")
    [found] = json.loads(done.stdout)
    return f"{name}:{found['Id'].removeprefix('sha256:')[:12]}", found["Size"]
