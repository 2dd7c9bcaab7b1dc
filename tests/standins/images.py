"""The image of a project for Kubernetes, built once for all tests that run it.

Images cannot be pulled here, so image/make_base.sh builds stand-ins for the base images under their
names; image/Dockerfile.base describes them. Needs root, podman and debootstrap.
"""

import fcntl
import os
import re
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple
from uuid import uuid4

import pytest
from cookiecutter.main import cookiecutter

from compose import ROOT
from tests.standins.planted import SECRET

FOLDER = ROOT / "tests" / "standins" / "image"
ENVIRONMENT = {**os.environ, "CONTAINERS_CONF": str(FOLDER / "containers.conf")}
BUILD = ("--network=host", "--pull=never", "--format=docker")
K8S = "spaceflights-k8s"
PACKAGE = "image_demo"
PLANTED = (
    ".env",
    ".git/config",
    "conf/base/credentials.yaml",
    "conf/local/credentials.json",
    "conf/local/credentials.yml",
    "dags/.env",
    "data/02_intermediate/x.parquet",
    "deploy/secrets.yaml",
    "notebooks/x.ipynb",
    "plugins/.env.local",
    f"src/{PACKAGE}/__pycache__/x.pyc",
)


class Image(NamedTuple):
    """A project, and the name of the image built from one of its Dockerfiles."""

    project: Path
    name: str


def run(*command: str | Path, env: dict[str, str] = ENVIRONMENT, cwd: Path = ROOT) -> str:
    """Run a command that must succeed.

    Returns:
        What it wrote to stdout.
    """
    done = subprocess.run(command, env=env, cwd=cwd, capture_output=True, text=True)
    output = f"{done.stdout}\n{done.stderr}"
    assert done.returncode == 0, f"{command} exited with {done.returncode}\n{output}"
    return done.stdout


def create_project(starter: str, name: str, folder: Path) -> Path:
    """Create a project; one for Kubernetes may have its data on S3."""
    project = cookiecutter(
        str(ROOT / "starters" / starter),
        no_input=True,
        extra_context={"project_name": name},
        output_dir=str(folder),
        default_config=True,
    )
    if starter == K8S:
        with Path(project, "requirements.txt").open("a") as requirements:
            requirements.write("s3fs>=2025\n")  # in all: images share this layer
        for pinned in ("Dockerfile", "deploy/postgresql.yaml"):  # a stand-in has another digest
            path = Path(project, pinned)
            path.write_text(re.sub("@sha256:[0-9a-f]{64}", "", path.read_text()))
    return Path(project)


def plant(project: Path, names: Iterable[str]) -> None:
    """Write files that must not leave the project, owned by another user than the image's."""
    for name in names:
        path = project / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"SECRET: {SECRET}\n")
    run("chown", "--recursive", "1000:1000", project)


def bases(dockerfile: Path) -> list[str]:
    """List the images that a Dockerfile starts from."""
    text = dockerfile.read_text()
    stages = re.findall(r"^FROM \S+ AS (\S+)$", text, re.MULTILINE)
    return [name for name in re.findall(r"^FROM (\S+)", text, re.MULTILINE) if name not in stages]


def build(project: Path, name: str, *options: str, dockerfile: str = "Dockerfile") -> str:
    """Build an image, and return podman's output."""
    [base] = bases(project / dockerfile)
    file = f"--file={project / dockerfile}"
    with FOLDER.joinpath("Dockerfile.base").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # builds side by side would not find each other's layers
        run(FOLDER / "make_base.sh", base)
        return run("podman", "build", *BUILD, *options, file, f"--tag={name}", project)


def context(project: Path) -> set[str]:
    """List the files that `COPY . .` in a project's Dockerfile would copy."""
    name = f"localhost/context-test:{uuid4().hex}"
    try:
        recipe = ("FROM scratch", "COPY . /project")
        with tempfile.TemporaryDirectory() as folder:
            path, archive = Path(folder, "Dockerfile"), Path(folder, "image.tar")
            path.write_text("\n".join(recipe))
            run("podman", "build", "--quiet", f"--file={path}", f"--tag={name}", project)
            container = run("podman", "create", name, "none").strip()
            run("podman", "export", f"--output={archive}", container)
            run("podman", "rm", container)
            with tarfile.open(archive) as tar:
                return {each.name.removeprefix("project/") for each in tar if each.isfile()}
    finally:
        remove(name)


def remove(name: str) -> None:
    """Remove an image, but for the layers with its requirements, which the next build may use."""
    run("podman", "rmi", "--force", "--no-prune", name)


def check_tools() -> None:
    """Say what is missing, before anything that takes long."""
    missing = [tool for tool in ("podman", "debootstrap") if not shutil.which(tool)]
    assert not missing, f"not installed: {', '.join(missing)}; .ci/packages installs what is needed"


@pytest.fixture(scope="session")
def k8s_image(tmp_path_factory) -> Iterator[Image]:
    """The project's image; the project has another owner, and files that must not leave it."""
    check_tools()
    project = create_project(K8S, "Image Demo", tmp_path_factory.mktemp("k8s-image"))
    plant(project, PLANTED)
    name = f"localhost/k8s-image-test:{uuid4().hex}"
    build(project, name)
    yield Image(project, name)
    remove(name)
