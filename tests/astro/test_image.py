"""The Dockerfile of the Astro projects, built with podman, and a DAG run in the image.

Images cannot be pulled here, so image/make_base.sh builds a stand-in for Astro Runtime under its
name; image/Dockerfile.base describes it. Needs root, podman and debootstrap.
"""

import json
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import pytest
import yaml

from tests.standins.images import (
    FOLDER,
    ROOT,
    SECRET,
    Image,
    build,
    check_tools,
    create_project,
    plant,
    remove,
    run,
)

pytestmark = pytest.mark.slow

BIN = Path(sys.executable).parent
STARTER = "spaceflights-astro"  # the other one has the same Dockerfile
PACKAGE = "image_demo"
HOME = "/usr/local/airflow"
MODULES = ("airflow_servers.py", "local_airflow.py")
METRICS = "cat data/08_reporting/metrics.json/*/metrics.json"
PLANTED = (
    ".env",
    ".git/config",
    "airflow_settings.yaml",
    "conf/base/credentials.yaml",
    "conf/local/credentials.json",
    "conf/local/credentials.yml",
    "data/02_intermediate/x.parquet",
    "include/.env.local",
    "notebooks/x.ipynb",
    f"src/{PACKAGE}/__pycache__/x.pyc",
)


@contextmanager
def container(image: str, *options: str) -> Iterator[Callable[..., str]]:
    """Start a container without a network, and remove it at the end.

    Yields:
        A function that runs a command in it, as the image's user and in its folder.
    """
    name = f"image-test-{uuid4().hex}"
    start = ["podman", "run", "--detach", "--init", "--network=none", "--name", name]
    mounted = {FOLDER: "image"} | {ROOT / module: module for module in MODULES}
    scripts = [f"--volume={path}:/mnt/{name}:ro" for path, name in mounted.items()]
    variables = ["--env=DO_NOT_TRACK=1", "--env=PYTHONPATH=/mnt"]
    try:
        run(*start, *scripts, *options, image, "sleep", "infinity")
        yield lambda *command: run("podman", "exec", *variables, name, *command)
    finally:
        run("podman", "rm", "--force", "--ignore", "--time=0", "--volumes", name)


def run_pytest(built: Image, target: str) -> str:
    """Run pytest as the Astro CLI does, in a container on copies of these folders."""
    name = f"image-test-{uuid4().hex}"
    command = ["pytest", "-rs", target]
    try:
        run("podman", "create", "--network=none", "--name", name, built.name, *command)
        for folder in ("dags", "tests", "plugins", "include", ".astro"):
            run("podman", "cp", built.project / folder, f"{name}:{HOME}/")
        return run("podman", "start", "--attach", name)
    finally:
        run("podman", "rm", "--force", "--ignore", "--time=0", name)


def development_volumes(project: Path) -> list[str]:
    """Mount what docker-compose.override.yml mounts, with new volumes for its named ones."""
    override = yaml.safe_load((project / "docker-compose.override.yml").read_text())
    return [
        f"--volume={project / volume if volume.startswith('./') else volume.partition(':')[2]}"
        for volume in override["services"]["scheduler"]["volumes"]
    ]


def last_json(output: str) -> dict:
    """Read the JSON that a script prints after the lines of Airflow's own log."""
    return json.loads(output.splitlines()[-1])


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> Iterator[Image]:
    """A new project, and the image built from its Dockerfile."""
    check_tools()
    project = create_project(STARTER, "Image Demo", tmp_path_factory.mktemp(STARTER))
    plant(project, PLANTED)
    image = f"localhost/image-test:{uuid4().hex}"
    build(project, image)
    yield Image(project, image)
    remove(image)


def test_the_image_contains_exactly_what_the_dag_needs_and_nothing_secret_or_local(built):
    with container(built.name) as run_in:
        names = run_in("ls", "-A").split()
        files = run_in("find", ".", "-type", "f").split()
        secrets = run_in("sh", "-c", f"grep --recursive --files-with-matches {SECRET} . ~ || true")
    assert names == [
        "check_secrets.py",
        "conf",
        "dags",
        "data",
        "include",
        "packages.txt",
        "plugins",
        "pyproject.toml",
        "requirements.txt",
        "src",
    ]
    assert not {f"./{name}" for name in PLANTED} & set(files)
    assert secrets == ""
    assert SECRET not in run("podman", "image", "inspect", built.name)
    assert SECRET not in run("podman", "history", "--no-trunc", built.name)


def test_a_secret_in_the_configuration_stops_the_build(built, tmp_path):
    project = shutil.copytree(built.project, tmp_path / "project")
    (project / "conf/base/parameters_api.yml").write_text(f"token: {SECRET}\n")
    with pytest.raises(AssertionError, match="parameters_api.yml:1: token is not a reference"):
        build(project, "localhost/not-built")


def test_the_image_has_no_notebooks_and_no_development_tools(built):
    with container(built.name) as run_in:
        installed = {line.split("==")[0].lower() for line in run_in("pip", "freeze").split()}
    assert {"apache-airflow", "kedro", "kedro-datasets", "scikit-learn"} <= installed
    assert not {"ipython", "jupyterlab", "kedro-airflow", "notebook", "ruff"} & installed


def test_astro_dev_parse_passes_in_the_image(built):
    output = run_pytest(built, ".astro/test_dag_integrity_default.py")
    assert re.search(r"= 2 passed(, \d+ warnings?)? in ", output), output


def test_astro_dev_pytest_passes_in_the_image_and_skips_only_what_needs_kedro_airflow(built):
    output = run_pytest(built, "tests/")
    skipped = re.findall(r"^SKIPPED \[1\] tests/\S+.py:\d+: (.*)", output, re.MULTILINE)
    assert skipped == ["kedro-airflow writes the DAG: run `make install`"] * 2
    assert re.search(r"= \d+ passed, 2 skipped(, \d+ warnings?)? in ", output), output


def test_the_dag_follows_the_rules_that_astro_gives_new_projects(built):
    with container(built.name) as run_in:
        read = last_json(run_in("python", "/mnt/image/read_dags.py"))
    assert read["errors"] == {}
    [dag] = read["dags"].values()
    assert dag["tags"]
    assert min(dag["retries"].values()) >= 2


def test_edits_in_src_and_conf_reach_the_development_container_without_a_rebuild(built):
    with container(built.name, *development_volumes(built.project)) as run_in:
        with (built.project / "src" / PACKAGE / "__init__.py").open("a") as file:
            file.write('edited = "in src"\n')
        with (built.project / "conf" / "base" / "parameters.yml").open("a") as file:
            file.write("edited: in conf\n")
        assert run_in("python", "/mnt/image/read_edits.py") == "in src, in conf\n"


def test_the_development_container_reads_raw_data_and_can_write_results(built):
    raw = sorted(path.name for path in (built.project / "data" / "01_raw").iterdir())
    with container(built.name, *development_volumes(built.project)) as run_in:
        assert run_in("ls", "-A", "data/01_raw").split() == raw
        run_in("mkdir", "data/08_reporting")


def test_the_dag_succeeds_as_the_user_astro_with_the_metrics_of_kedro_run(built):
    image = built.name
    with container(image) as run_in:
        [dag] = last_json(run_in("python", "/mnt/image/read_dags.py"))["dags"].values()
        dag_run = last_json(run_in("python", "/mnt/image/run_dag.py", PACKAGE))
        metrics = json.loads(run_in("sh", "-c", METRICS))
    assert dag_run == {
        "user": "astro",
        "state": "success",
        "tasks": {task: "success" for task in dag["retries"]},
    }
    with container(image) as run_in:
        run_in("kedro", "run", "--env=base")
        assert metrics == json.loads(run_in("sh", "-c", METRICS))


def test_hadolint_is_clean_on_the_dockerfile(built):
    assert run(BIN / "hadolint", built.project / "Dockerfile") == ""
