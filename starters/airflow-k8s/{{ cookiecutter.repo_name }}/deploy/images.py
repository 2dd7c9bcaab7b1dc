"""The images of the project and of Airflow."""

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

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
    storage,
)

DOCKERFILES = {NAME: "Dockerfile", f"{NAME}-airflow": "deploy/airflow.Dockerfile"}
LOCAL = "docker.io/library/"  # what Kubernetes puts before an image's name that has no registry


def image() -> None:
    """Build both images: the project's, for the pods of the nodes, and Airflow's.

    Their references NAME:TAG name the content: what has not changed is not rolled out again.
    """
    require(engine())
    show(sys.executable, "check_secrets.py")
    values = Path("deploy/values.yaml").read_text()
    [airflow] = re.findall(r'^airflowVersion: "?([^"\s]+)', values, re.MULTILINE)
    built = {}
    for name, file in DOCKERFILES.items():
        command = [engine(), "build", "--file", file, "--tag", f"{LOCAL}{name}:latest"]
        if engine() == "podman":
            command += ["--format", "docker"]
        if name == NAME:  # for deploy(), which cannot load the configuration
            command += ["--label", f"kedro.runners={' '.join(sorted(runners()))}"]
            command += ["--label", f"kedro.storage={storage()}"]
        if name == NAME and "executor" in runners():
            extras = "cncf.kubernetes,postgres"  # the executor's, and the driver of the database
            command += ["--build-arg", f"AIRFLOW=apache-airflow[{extras}]=={airflow}"]
        show(*command, ".")
        found = inspect(name)
        reference = named(name, found)
        show(engine(), "tag", f"{LOCAL}{name}:latest", LOCAL + reference)
        built[reference] = f"{found['Size'] / 1e6:.0f} MB"
    width = max(map(len, built))
    for reference, megabytes in {"image": "size", **built}.items():
        print(f"{reference:{width}}  {megabytes:>8}")


def push() -> list[str]:
    """Push both images to REGISTRY, and return REGISTRY/NAME@DIGEST, the project's first."""
    require(engine())
    require_registry()
    pushed = []
    for name in DOCKERFILES:
        reference = named(name, inspect(name))
        target = f"{REGISTRY}/{reference}"
        show(engine(), "tag", f"{LOCAL}{name}:latest", target)
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


def load() -> list[str]:
    """Load both images into the cluster of `make cluster`, and return NAME:TAG."""
    tool, _ = local_cluster()
    images = [named(name, inspect(name)) for name in DOCKERFILES]
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


def labels() -> dict[str, str]:
    """Read what `make image` has written on the project's image."""
    found: dict[str, str] = inspect(NAME)["Config"]["Labels"]
    return found


def named(name: str, image: dict[str, Any]) -> str:
    """Name an image by its content: NAME:TAG."""
    return f"{name}:{image['Id'].removeprefix('sha256:')[:12]}"


def inspect(name: str) -> dict[str, Any]:
    """Describe an image that was built."""
    command = [engine(), "image", "inspect", f"{LOCAL}{name}:latest"]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"There is no image {name}: run `make image`.\n{done.stderr.strip()}")
    found: dict[str, Any] = json.loads(done.stdout)[0]
    return found
