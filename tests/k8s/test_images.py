"""The two images of a project for Kubernetes; standins/images.py says what they are based on."""

import json
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest
import yaml

from compose import ROOT
from tests.conftest import venv
from tests.standins.images import (
    BUILD,
    ENVIRONMENT,
    FOLDER,
    K8S,
    PACKAGE,
    SECRET,
    Image,
    bases,
    build,
    create_project,
    remove,
    run,
)

BIN = Path(sys.executable).parent
PROJECT, AIRFLOW = "Dockerfile", "deploy/airflow.Dockerfile"
HOME = "/home/kedro_docker"
# What the Pod Security Standard "restricted" requires, without a network.
RESTRICTED = (
    "--read-only",
    "--read-only-tmpfs=false",
    "--tmpfs=/tmp",
    "--cap-drop=all",
    "--security-opt=no-new-privileges",
    "--network=none",
)
PROVIDERS = {"celery", "cncf-kubernetes", "fab", "git", "postgres"}


def in_container(image: Image, *command: str, options: tuple[str, ...] = ()) -> str:
    """Run a command in its own container, which is then removed."""
    return run("podman", "run", "--rm", *RESTRICTED, *options, image.name, *command)


def layers(name: str) -> list[str]:
    """List an image's layers from the base up."""
    return json.loads(run("podman", "image", "inspect", "--format={{json .RootFS.Layers}}", name))


def packages(image: Image) -> set[str]:
    """The names of the distributions that Python finds."""
    code = (
        "from importlib import metadata as m; print(*{d.name.lower() for d in m.distributions()})"
    )
    return set(in_container(image, "python", "-c", code).split())


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Path:
    return create_project(K8S, "Image Demo", tmp_path_factory.mktemp("k8s-project"))


@pytest.fixture(scope="module")
def airflow_image(k8s_image) -> Iterator[Image]:
    """Airflow's image of the same project."""
    name = f"localhost/k8s-airflow-test:{uuid4().hex}"
    build(k8s_image.project, name, dockerfile=AIRFLOW)
    yield Image(k8s_image.project, name)
    remove(name)


@pytest.fixture(params=["k8s_image", "airflow_image"])
def image(request) -> Image:
    """Each of the two images."""
    return request.getfixturevalue(request.param)


@pytest.fixture
def data(k8s_image, tmp_path) -> Path:
    """A volume with the sample data, owned by the image's user."""
    folder = tmp_path / "data"
    shutil.copytree(k8s_image.project / "data" / "01_raw", folder / "01_raw")
    run("chown", "--recursive", "10001:10001", folder)
    return folder


@pytest.mark.parametrize(
    ("dockerfile", "base"),
    [
        (PROJECT, r"python:3\.12\.15-slim-bookworm@sha256:[0-9a-f]{64}"),
        (AIRFLOW, r"apache/airflow:slim-3\.3\.2-python3\.12"),
    ],
)
def test_an_image_starts_from_one_exact_base(dockerfile, base):
    [found] = bases(ROOT / "layers" / "platforms" / "k8s" / dockerfile)
    assert re.fullmatch(base, found)


def test_airflows_image_has_the_version_of_the_charts_values(project):
    values = yaml.safe_load((project / "deploy" / "values.yaml").read_text())
    assert f":slim-{values['airflowVersion']}-" in bases(project / AIRFLOW)[0]


@pytest.mark.parametrize("dockerfile", [PROJECT, AIRFLOW])
def test_hadolint_is_clean_on_the_dockerfile(project, dockerfile):
    assert run(BIN / "hadolint", project / dockerfile) == ""


@pytest.mark.slow
@pytest.mark.parametrize("dockerfile", [PROJECT, AIRFLOW])
def test_checkov_finds_nothing_but_one_exception_with_a_reason(project, dockerfile, linters):
    command = ["--framework=dockerfile", "--skip-download", "--output=json", "--soft-fail"]
    report = json.loads(run(linters / "checkov", *command, "--file", project / dockerfile))
    assert report["results"]["failed_checks"] == []
    [skipped] = report["results"]["skipped_checks"]
    assert skipped["check_id"] == "CKV_DOCKER_2"  # no HEALTHCHECK
    assert skipped["check_result"]["suppress_comment"]


@pytest.mark.slow
def test_the_projects_image_contains_exactly_what_its_nodes_need(k8s_image):
    assert in_container(k8s_image, "ls", "-A").split() == [
        "check_secrets.py",
        "conf",
        "dags",
        "data",
        "pyproject.toml",
        "requirements.txt",
        "src",
    ]
    assert in_container(k8s_image, "ls", "-A", "conf").split() == ["airflow", "base", "logging.yml"]
    assert in_container(k8s_image, "ls", "-A", "data") == ""


@pytest.mark.slow
def test_airflows_image_contains_only_the_dags_and_plugins_of_the_project(airflow_image):
    assert in_container(airflow_image, "ls", "-A").split() == ["dags", "logs", "plugins"]
    dags = {path.name for path in (airflow_image.project / "dags").iterdir()} - {".env"}
    assert set(in_container(airflow_image, "ls", "-A", "dags").split()) == dags
    assert in_container(airflow_image, "ls", "-A", "plugins") == "preload.py\npreload_pods.py\n"


@pytest.mark.slow
def test_secret_or_local_files_are_in_no_file_or_layer_of_an_image(image):
    folders = ["/etc", "/home", "/opt/airflow", "/root", "/tmp"]
    search = f"grep --recursive --files-with-matches {SECRET} {' '.join(folders)} || true"
    options = ("--user=0", "--cap-add=dac_read_search")
    assert in_container(image, "sh", "-c", search, options=options) == ""
    assert SECRET not in run("podman", "image", "inspect", image.name)
    assert SECRET not in run("podman", "history", "--no-trunc", image.name)


@pytest.mark.slow
def test_a_secret_in_the_configuration_stops_the_build(k8s_image, tmp_path):
    project = shutil.copytree(k8s_image.project, tmp_path / "project")
    (project / "conf/base/parameters_api.yml").write_text(f"token: {SECRET}\n")
    with pytest.raises(AssertionError, match="parameters_api.yml:1: token is not a reference"):
        build(project, "localhost/not-built")


@pytest.mark.slow
def test_the_projects_image_has_no_tools_that_build_install_or_test(k8s_image):
    found = packages(k8s_image)
    assert {"kedro", "kedro-datasets", "pandas", "scikit-learn"} <= found
    assert not {"apache-airflow", "ipython", "notebook", "pip", "pytest", "ruff", "uv"} & found
    tools = "for tool in cc gcc git make pip uv; do command -v $tool; done || true"
    assert in_container(k8s_image, "sh", "-c", tools) == ""


@pytest.mark.slow
def test_airflows_image_has_the_deployments_providers_and_nothing_for_nodes(airflow_image):
    found = packages(airflow_image)
    assert {f"apache-airflow-providers-{name}" for name in PROVIDERS} <= found
    assert not {"kedro", "kedro-datasets", "pandas", "scikit-learn"} & found


@pytest.mark.slow
def test_each_image_has_its_own_title_and_a_user_that_kubernetes_knows_is_not_root(
    k8s_image, airflow_image
):
    told = '--format={{.Config.User}} {{index .Labels "org.opencontainers.image.title"}}'
    assert run("podman", "image", "inspect", told, k8s_image.name) == "10001:10001 Image Demo\n"
    assert (
        run("podman", "image", "inspect", told, airflow_image.name) == "50000 Image Demo: Airflow\n"
    )
    assert (
        in_container(k8s_image, "id") == "uid=10001(kedro) gid=10001(kedro) groups=10001(kedro)\n"
    )


@pytest.mark.slow
def test_the_pipelines_run_on_a_read_only_root_file_system_with_the_data_on_a_volume(
    k8s_image, data
):
    in_container(k8s_image, options=(f"--volume={data}:{HOME}/data",))
    [metrics] = data.glob("08_reporting/metrics.json/*/metrics.json")
    assert json.loads(metrics.read_text()).keys() == {"max_error", "mae", "r2_score"}
    assert sorted(path.name for path in data.iterdir()) == [
        "01_raw",
        "02_intermediate",
        "06_models",
        "08_reporting",
    ]


@pytest.mark.slow
def test_the_charts_user_can_read_the_dags_has_a_name_and_can_write(k8s_image):
    script = "cd /opt/airflow && touch logs ~/x /home/kedro_docker/data/x && ls dags/*/run.py"
    name = "python -c 'import getpass; print(getpass.getuser())'"
    options = ("--user=50000:0", "--passwd=false", "--read-only=false")
    output = in_container(k8s_image, "sh", "-c", f"{script} && {name}", options=options)
    assert output == f"dags/{PACKAGE}_airflow/run.py\nkedro\n"


@pytest.mark.slow
def test_a_change_in_the_sources_rebuilds_only_their_layers(k8s_image):
    with (k8s_image.project / "src" / PACKAGE / "__init__.py").open("a") as file:
        file.write("# changed\n")
    name = f"localhost/k8s-image-test:{uuid4().hex}"
    try:
        build(k8s_image.project, name)
        before, after = layers(k8s_image.name), layers(name)
    finally:
        remove(name)
    assert [old == new for old, new in zip(before, after, strict=True)] == [True] * (
        len(before) - 2
    ) + [False, False]  # the sources, and their bytecode


@pytest.mark.slow
def test_the_dag_loads_in_airflows_image(airflow_image):
    options = (f"--volume={FOLDER}:/mnt/image:ro", "--tmpfs=/opt/airflow/logs", "--read-only=false")
    output = in_container(airflow_image, "python", "/mnt/image/read_dags.py", options=options)
    read = json.loads(output.splitlines()[-1])
    assert read["errors"] == {}
    assert list(read["dags"]) == [PACKAGE]


@pytest.mark.slow
def test_kedro_docker_keeps_the_projects_files_and_its_build_and_run_work(
    k8s_image, tmp_path, monkeypatch
):
    kedro = venv(tmp_path / "venv", "kedro-docker==0.6.2", "kedro~=1.7", "click!=8.5.1") / "kedro"
    docker = tmp_path / "bin" / "docker"  # podman as docker; mounted folders must exist
    docker.parent.mkdir()
    docker.symlink_to(shutil.which("podman"))
    project = tmp_path / "project"
    shutil.copytree(k8s_image.project, project)
    for name in ("logs", "notebooks", "references", "results"):
        (project / name).mkdir(exist_ok=True)
    (project / "conf/local/credentials.yml").unlink()
    (project / "conf/local/credentials.json").unlink()
    run("chown", "--recursive", "1000:1000", project)
    kept = [(project / name).read_bytes() for name in ("Dockerfile", ".dockerignore")]
    env = {**ENVIRONMENT, "PATH": f"{docker.parent}:{ENVIRONMENT['PATH']}", "DO_NOT_TRACK": "1"}
    name = f"localhost/k8s-image-test:{uuid4().hex}"
    try:
        options = f"--docker-args={' '.join(BUILD)}"
        run(kedro, "docker", "build", f"--image={name}", options, env=env, cwd=project)
        options = "--docker-args=--network=none --user=1000"  # the data's owner
        run(kedro, "docker", "run", f"--image={name}", options, env=env, cwd=project)
    finally:
        remove(name)
    assert [(project / name).read_bytes() for name in ("Dockerfile", ".dockerignore")] == kept
    assert len(list(project.glob("data/08_reporting/metrics.json/*/metrics.json"))) == 1
