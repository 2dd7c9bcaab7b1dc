"""The DAG runs in what helm installs, without a cluster: installation.py runs the chart's pods.

Helm, the chart, both images, all of Airflow and its login are real; PostgreSQL, Redis and RabbitMQ
are Debian's. Needs the chart (set AIRFLOW_CHART), root, podman and debootstrap. git-sync runs if
podman has its image.
"""

import base64
import json
import re
import secrets
import shutil
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple
from uuid import uuid4

import httpx
import pytest

from local_airflow import LocalAirflow
from tests.conftest import edit, run
from tests.k8s.test_cluster import Tools
from tests.k8s.test_helm import manifests, mebibytes
from tests.k8s.test_pods import state_of, wait_for
from tests.standins import images
from tests.standins.installation import Installation
from tests.standins.kubernetes_api import podman

pytestmark = pytest.mark.slow
NAME = "image-demo"
PASSWORD = secrets.token_hex()  # of all services
GIT = f"git://git/{NAME}.git"
GIT_SYNC = "registry.k8s.io/git-sync/git-sync:v4.4.2"
RABBITMQ = "rabbitmq:3.10-bookworm"
WORKERS = [f"{NAME}-worker-{number}" for number in range(2)]
# Upstream, the image that Airflow's Dockerfile starts from has git.
WITH_GIT = """
FROM {name}
USER root
RUN apt-get update && apt-get install --yes --no-install-recommends git
USER 50000
"""
SHORT = """
import socket

from airflow.sdk import DAG, task


@task
def where(number):
    print("on", socket.getfqdn())


with DAG("short"):
    where.expand(number=list(range(12)))
"""
CHANGING = """
import time

from airflow.sdk import DAG, Variable, task


@task
def wait():
    while not Variable.get("committed", default=None):
        time.sleep(1)


@task
def say():
    print("version 1")


with DAG("changing"):
    wait() >> say()
"""


class Airflow(LocalAirflow):
    """The REST API of an installed Airflow, as the user admin."""

    def __init__(self, address: str, password: str) -> None:
        self.api = httpx.Client(base_url=f"http://{address}:8080", timeout=120, trust_env=False)
        wait_for(self.is_healthy, 600)
        user = {"username": "admin", "password": password}
        token = self.api.post("/auth/token", json=user).raise_for_status().json()["access_token"]
        self.api.headers["Authorization"] = f"Bearer {token}"

    def is_healthy(self) -> bool:
        """Return whether all of Airflow's services are healthy."""
        try:
            parts = self.api.get("/api/v2/monitor/health").json().values()
        except (httpx.TransportError, json.JSONDecodeError):
            return False
        return {part["status"] for part in parts} == {"healthy"}

    def printed(self, dag_id: str, run_id: str) -> dict[tuple[str, int], list[str]]:
        """What each task has printed, as the API server reads it from where the task ran."""
        found = {}
        for task in self.tasks(dag_id, run_id):
            path = f"dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task['task_id']}/logs/1"
            lines = self.get(f"{path}?map_index={task['map_index']}")["content"]
            text = [line["event"] for line in lines if line.get("logger") == "task.stdout"]
            found[task["task_id"], task["map_index"]] = text
        return found


class Installed(NamedTuple):
    """A running installation, its Airflow, and its secrets."""

    pods: Installation
    airflow: Airflow
    project: Path
    tools: Tools
    secrets: list[str]

    def make(self, verb: str) -> str:
        """Run one of the Makefile's verbs, and return its output."""
        command = [sys.executable, "deploy/cluster.py", verb]
        environment = self.tools.environment(CONTEXT="any", RELEASE=NAME)
        return run(*command, cwd=self.project, env=environment).stdout


@pytest.fixture(scope="module")
def project(k8s_image, tmp_path_factory) -> Path:
    """The project, which takes its DAGs from another repository, and has two more."""
    project = tmp_path_factory.mktemp("installed") / NAME
    shutil.copytree(k8s_image.project, project, symlinks=True)
    for name, text in {"short": SHORT, "changing": CHANGING}.items():
        (project / "dags" / f"{name}.py").write_text(text)
    for name in ("dags-git-bundle", "dags-git-sync"):
        overlay = project / "deploy" / "overlays" / f"{name}.yaml"
        edit(overlay, f"https://github.com/OWNER/{NAME}.git", GIT)
    return project


@pytest.fixture(scope="module")
def airflow_image(project, tmp_path_factory) -> Iterator[str]:
    """The project's image of Airflow, with git."""
    name = f"localhost/{NAME}-airflow:{uuid4().hex}"
    images.build(project, name, dockerfile="deploy/airflow.Dockerfile")
    folder = tmp_path_factory.mktemp("with-git")
    (folder / "Dockerfile").write_text(WITH_GIT.format(name=name))
    images.run("podman", "build", *images.BUILD, f"--tag={name}", str(folder))
    yield name
    images.remove(name)


@pytest.fixture(scope="module")
def install(chart, helm, project, k8s_image, airflow_image, tmp_path_factory):
    """A context manager that installs Airflow with some overlays, and waits until it is healthy.

    Its arguments are the names of overlays, the broker's address, and more objects.
    """
    repository, _, tag = airflow_image.rpartition(":")

    @contextmanager
    def installed(*overlays: str, broker: str = "", more: list[dict]) -> Iterator[Installed]:
        folder = tmp_path_factory.mktemp("installation")
        values = {"env[0].value": k8s_image.name}
        for part in ("airflow", "flower"):
            values |= {f"images.{part}.repository": repository, f"images.{part}.tag": tag}
        arguments = run(sys.executable, "deploy/overlays.py", *overlays, cwd=project).stdout.split()
        arguments += [f"--set-string={key}={value}" for key, value in values.items()]
        command = [helm, "template", NAME, chart, "--namespace=default", *arguments]
        objects = manifests(run(*command, cwd=project).stdout)
        objects += [*manifests((project / "deploy" / "postgresql.yaml").read_text()), *more]
        keys = {
            "fernet-key": base64.urlsafe_b64encode(secrets.token_bytes(32)).decode(),
            "api-secret-key": secrets.token_urlsafe(48),
            "jwt-secret": secrets.token_urlsafe(48),
            "admin-password": f"-{secrets.token_urlsafe(16)}",
        }
        connection = f"postgresql://airflow:{PASSWORD}@{NAME}-postgresql:5432/airflow"
        known = {
            f"{NAME}-keys": keys,
            f"{NAME}-database": {"password": PASSWORD, "connection": connection},
            f"{NAME}-broker": {"password": PASSWORD, "connection": broker},
            f"{NAME}-flower": {"basicAuth": f"flower:{PASSWORD}"},
        }
        shutil.copytree(project / "data", folder / "data")
        with Installation(folder, objects, known, {f"{NAME}-data": folder / "data"}) as pods:
            for image in pods.images - {k8s_image.name, airflow_image, GIT_SYNC}:
                images.run(images.FOLDER / "make_base.sh", image)
            database = f"{NAME}-postgresql"
            pods.start(database)
            wait_for(lambda: listens(pods.addresses[f"{database}-0"], 5432))
            first = [each["metadata"]["name"] for each in more if each["kind"] == "Deployment"]
            first += [f"{NAME}-run-airflow-migrations", f"{NAME}-create-user"]
            for workload in dict.fromkeys([*first, *pods.workloads]):
                if workload != database:
                    pods.start(workload)
            address = pods.addresses[f"{NAME}-api-server-0"]
            airflow = Airflow(address, keys["admin-password"])
            (folder / "tools").mkdir()
            tools = Tools(folder / "tools")
            tools.folder.joinpath("port").write_text(f"{address}:8080")
            key = base64.b64encode(keys["admin-password"].encode()).decode()
            tools.answer(f"get secret {NAME}-keys", json.dumps({"data": {"admin-password": key}}))
            yield Installed(pods, airflow, project, tools, [PASSWORD, *keys.values()])

    return installed


def listens(address: str, port: int) -> bool:
    """Return whether something listens on a port."""
    with socket.socket() as probe:
        return probe.connect_ex((address, port)) == 0


def service(name: str, image: str, **container: object) -> list[dict]:
    """Something outside of the cluster that Airflow uses, as a pod with a Service."""
    labels = {"app": name}
    container |= {"name": name, "image": image, "imagePullPolicy": "Never"}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [container]}}
    metadata = {"metadata": {"name": name}}
    return [
        {"kind": "Service", **metadata, "spec": {"selector": labels}},
        {"kind": "Deployment", **metadata, "spec": {"template": template}},
    ]


class Repository:
    """A git repository with the project's DAGs, and a server for it."""

    def __init__(self, project: Path, image: str, folder: Path) -> None:
        self.work, self.bare = folder / "work", folder / "served" / f"{NAME}.git"
        shutil.copytree(project / "dags", self.work / "dags")
        run("git", "init", "--quiet", "--initial-branch=main", self.work, cwd=folder)
        run("git", "init", "--quiet", "--bare", "--initial-branch=main", self.bare, cwd=folder)
        self.push()
        command = ["git", "daemon", "--export-all", "--base-path=/served", "/served"]
        mount = {"name": "served", "mountPath": "/served"}
        root = {"runAsUser": 0}
        self.server = service(
            "git", image, command=command, volumeMounts=[mount], securityContext=root
        )
        spec = self.server[1]["spec"]["template"]["spec"]
        spec["volumes"] = [{"name": "served", "hostPath": {"path": str(self.bare.parent)}}]

    def push(self) -> str:
        """Commit and push all changes, and return the commit."""
        run("git", "add", "--all", cwd=self.work)
        run("git", "commit", "--quiet", "--message=Change", cwd=self.work)
        run("git", "push", "--quiet", self.bare, "main", cwd=self.work)
        return run("git", "rev-parse", "HEAD", cwd=self.work).stdout.strip()


class Celery(NamedTuple):
    """An installation with Celery, the repository of its DAGs, and how they get from there."""

    installed: Installed
    repository: Repository
    dags: str


@pytest.fixture(scope="module", params=["redis dags-git-bundle", "rabbitmq dags-git-sync"])
def celery(request, install, project, airflow_image, tmp_path_factory):
    """Airflow with Celery; without git-sync if podman does not have its image."""
    broker, dags = request.param.split()
    repository = Repository(project, airflow_image, tmp_path_factory.mktemp("git"))
    more, address = list(repository.server), f"redis://:{PASSWORD}@{NAME}-redis:6379/0"
    if broker == "rabbitmq":
        user = {"RABBITMQ_DEFAULT_USER": "airflow", "RABBITMQ_DEFAULT_PASS": PASSWORD}
        env = [{"name": name, "value": value} for name, value in user.items()]
        more += service("rabbitmq", RABBITMQ, env=env)
        address = f"amqp://airflow:{PASSWORD}@rabbitmq:5672//"
    overlays = [f"executor-celery-{broker}", "flower", dags]
    if dags == "dags-git-sync" and podman("image", "exists", GIT_SYNC, check=False).returncode:
        overlays.remove(dags)
        dags = ""
    with install(*overlays, broker=address, more=more) as installed:
        yield Celery(installed, repository, dags)


def test_dag_runs_in_what_helm_installs_on_a_laptop_in_the_memory_that_it_has(install):
    with install("laptop", more=[]) as installed:
        assert_make_shows_a_run(installed)
        for pod in installed.pods.pods:
            name, [container] = pod["metadata"]["name"], pod["spec"]["containers"]
            if name.rpartition("-")[0] not in installed.pods.jobs:
                limit = mebibytes(container["resources"]["limits"]["memory"])
                assert installed.pods.memory(name) < limit, name


def test_celery_runs_a_dag_of_pods_and_keeps_secrets_out_of_all_logs(celery):
    assert_make_shows_a_run(celery.installed)


def assert_make_shows_a_run(installed):
    """Trigger the DAG as in the README, and read its logs."""
    done = installed.make("trigger")
    assert re.search(r"^The run has succeeded in \d+ s\.$", done, re.MULTILINE)
    log = installed.make("logs")
    assert log.count(": success, try 1") == 3
    assert log.count("Pipeline execution completed successfully") == 3
    written = installed.pods.log()
    assert [secret for secret in installed.secrets if secret in written] == []
    assert "InsecureKeyLengthWarning" not in written
    metrics = installed.pods.folder.glob("data/08_reporting/metrics.json/*/metrics.json")
    assert len(list(metrics)) == 1


def test_celerys_workers_share_tasks_and_serve_their_logs_by_their_names(celery):
    airflow = celery.installed.airflow
    run_id = airflow.trigger("short")
    assert airflow.wait("short", run_id) == "success"
    names = {f"{name}.{NAME}-worker.default.svc.cluster.local" for name in WORKERS}
    tasks = airflow.tasks("short", run_id)
    assert {task["hostname"] for task in tasks} == names
    assert airflow.printed("short", run_id) == {
        (task["task_id"], task["map_index"]): [f"on {task['hostname']}"] for task in tasks
    }


def test_flower_shows_both_workers_to_those_who_have_its_password(celery):
    pods = celery.installed.pods
    url = f"http://{pods.addresses[f'{NAME}-flower-0']}:5555/workers"
    assert httpx.get(url, trust_env=False).status_code == 401
    page = httpx.get(url, auth=("flower", PASSWORD), trust_env=False).raise_for_status().text
    assert [name for name in WORKERS if f"celery@{name}" in page] == WORKERS


def test_run_during_a_commit_keeps_its_version_in_a_bundle_but_not_with_git_sync(celery):
    if not celery.dags:
        pytest.skip(f"podman has no image {GIT_SYNC}")
    airflow, pods = celery.installed.airflow, celery.installed.pods
    run_id = airflow.trigger("changing")
    wait_for(lambda: state_of(airflow, "changing", run_id, "wait") == "running")
    edit(celery.repository.work / "dags" / "changing.py", "version 1", "version 2")
    commit = celery.repository.push()

    def arrived():
        if celery.dags == "dags-git-bundle":
            return airflow.get("dags/changing")["bundle_version"] == commit
        files = list(pods.kubernetes.folder.glob("*/dags/repo/dags/changing.py"))
        return files and all("version 2" in file.read_text() for file in files)

    wait_for(arrived)
    variable = {"key": "committed", "value": commit}
    airflow.api.post("/api/v2/variables", json=variable).raise_for_status()
    assert airflow.wait("changing", run_id) == "success"
    later = airflow.trigger("changing")
    assert airflow.wait("changing", later) == "success"
    said = [airflow.printed("changing", each)["say", -1] for each in (run_id, later)]
    kept = "version 1" if celery.dags == "dags-git-bundle" else "version 2"
    assert said == [[kept], ["version 2"]]
