"""kedro new, cookiecutter and copier create the same project."""

import zipfile

import pytest

from compose import STARTERS
from tests.conftest import (
    EMPTY,
    ENVIRONMENT,
    NAME,
    answers,
    cookiecutter,
    copier_copy,
    files,
    kedro_new,
    run,
)

FOLDER = "space-flights"
STARTED = "astro-airflow-iris"
FORKED = "spaceflights-mwaa"  # by the fast tier, but for a clone


def by_directory(starter, template, cwd, run):
    command = ["kedro", "new", "--starter", template, f"--directory=starters/{starter}"]
    run(*command, "--name", NAME, cwd=cwd)


def by_git_url(starter, template, cwd, run):
    command = ["kedro", "new", "--starter", f"git+file://{template}", "--checkout=main"]
    config, clones = cwd / "cookiecutter.yaml", cwd / "clones"  # a fork would not see a new HOME
    config.write_text(f"cookiecutters_dir: {clones}\n")
    env = ENVIRONMENT | {"COOKIECUTTER_CONFIG": str(config)}
    run(*command, f"--directory=starters/{starter}", "--name", NAME, cwd=cwd, env=env)
    assert [path.name for path in clones.iterdir()] == [template.name]


def by_config(starter, template, cwd, run):
    kedro_new(template, starter, cwd, answers(), run=run)


def interactively(starter, template, cwd, run):
    command = ["kedro", "new", "--starter", template, f"--directory=starters/{starter}"]
    run(*command, cwd=cwd, input=f"{NAME}\n")


def by_cookiecutter_from_the_root(starter, template, cwd, run):
    choice = list(STARTERS).index(starter) + 1
    run("cookiecutter", template, cwd=cwd, input=f"{choice}\n{NAME}\n\n\n")


def by_cookiecutter_directory(starter, template, cwd, run):
    cookiecutter(template, starter, cwd, {"project_name": NAME}, run=run)


def by_copier(starter, template, cwd, run):
    copier_copy(template, starter, cwd, answers(), run=run)
    kept = (cwd / FOLDER / ".copier-answers.yml").read_text().splitlines()
    assert f"project_name: {NAME}" in kept and f"starter: {starter}" in kept


WAYS = [
    by_git_url,
    by_config,
    interactively,
    by_cookiecutter_from_the_root,
    by_cookiecutter_directory,
    by_copier,
]


@pytest.fixture(scope="session")
def reference(template, forks, tmp_path_factory):
    """The files of a project of each starter, created by `kedro new --directory`."""

    def create(starter):
        if starter not in created:
            folder = tmp_path_factory.mktemp("reference")
            by_directory(starter, template, folder, forks.run)
            created[starter] = files(folder / FOLDER)
        return created[starter]

    created = {}
    return create


def cases():
    """Every way for every starter: for one it is started as a user would, for the others forked.

    Those without an example are created once by each generator.
    """
    for starter in STARTERS:
        once = [by_config, by_cookiecutter_from_the_root, by_copier]
        for way in once if starter in EMPTY else WAYS:
            marks = () if starter == FORKED and way != by_git_url else pytest.mark.slow
            yield pytest.param(way, starter, id=f"{starter}-{way.__name__}", marks=marks)


@pytest.mark.parametrize("way, starter", [*cases()])
def test_projects_have_the_same_bytes_and_modes(way, starter, template, reference, forks, tmp_path):
    way(starter, template, tmp_path, run if starter == STARTED else forks.run)
    assert files(tmp_path / FOLDER) == reference(starter)


@pytest.mark.slow
def test_alias_creates_the_same_bytes_and_modes(starter, installed, reference, tmp_path):
    run(installed / "kedro", "new", "--starter", starter, "--name", NAME, cwd=tmp_path)
    assert files(tmp_path / FOLDER) == reference(starter)


PLATFORM_FILES = {
    "astro": {
        ".astro/config.yaml",
        ".astro/dag_integrity_exceptions.txt",
        ".astro/test_dag_integrity_default.py",
        ".dockerignore",
        ".env",
        "Dockerfile",
        "airflow_settings.yaml",
        "docker-compose.override.yml",
        "include/.gitkeep",
        "packages.txt",
        "src/space_flights/airflow_dag/platform_astro.py",
        "tests/dags/test_astro.py",
    },
    "mwaa": {
        "mwaa/bucket.py",
        "mwaa/bundle.py",
        "mwaa/check.py",
        "mwaa/configuration.py",
        "mwaa/constraints/3.2.1.txt",
        "mwaa/constraints/3.3.1.txt",
        "mwaa/data.py",
        "mwaa/deploy.py",
        "mwaa/environment.yaml",
        "mwaa/requirements-deploy.txt",
        "mwaa/sources.py",
        "mwaa/startup.sh",
        "src/space_flights/airflow_dag/platform_mwaa.py",
    },
    "k8s": {
        ".dockerignore",
        "Dockerfile",
        "dags/space_flights_airflow/pod.py",
        "dags/pod.yaml",
        "deploy/airflow.Dockerfile",
        "deploy/cluster.py",
        "deploy/data.yaml",
        "deploy/images.py",
        "deploy/overlays.py",
        "deploy/postgresql.yaml",
        "deploy/raw_data.py",
        "deploy/release.py",
        "deploy/room.py",
        "deploy/runs.py",
        "deploy/tools.py",
        "deploy/values.yaml",
        "plugins/preload_pods.py",
        "src/space_flights/airflow_dag/platform_pods.py",
        "src/space_flights/airflow_dag/settings_pods.py",
        "src/space_flights/airflow_dag/settings_pods.yml",
        "tests/dags/test_pods.py",
    }
    | {
        f"deploy/overlays/{overlay}.yaml"
        for overlay in (
            "airflow-cfg",
            "celery-autoscaling",
            "dags-git-bundle",
            "dags-git-sync",
            "executor-celery-rabbitmq",
            "executor-celery-redis",
            "executor-kubernetes",
            "flower",
            "high-availability",
            "ingress-tls",
            "laptop",
            "network-policies",
            "pgbouncer",
            "quotas",
            "secrets-vault",
        )
    },
}


@pytest.mark.parametrize("platform", PLATFORM_FILES)
def test_project_has_exactly_the_expected_files(platform, reference):
    package = "src/space_flights"
    pipelines = {
        f"{package}/pipelines/{name}/{file}.py"
        for name in ("data_processing", "data_science", "reporting")
        for file in ("__init__", "nodes", "pipeline")
    }
    assert set(reference(f"spaceflights-{platform}")) == pipelines | PLATFORM_FILES[platform] | {
        ".devcontainer/devcontainer.json",
        ".github/dependabot.yml",
        ".github/workflows/ci.yml",
        ".github/workflows/deploy.yml",
        ".gitignore",
        ".telemetry",
        ".vscode/extensions.json",
        "AGENTS.md",
        "Makefile",
        "README.md",
        "check_secrets.py",
        "conf/airflow/airflow.yml",
        "conf/airflow/catalog.yml",
        "conf/airflow/catalog_spaceflights.yml",
        "conf/airflow/credentials.yml",
        "conf/airflow/globals.yml",
        "conf/airflow/logging.yml",
        "conf/airflow/schema.json",
        "conf/base/catalog.yml",
        "conf/base/globals.yml",
        "conf/base/parameters.yml",
        "conf/local/.gitkeep",
        "conf/logging.yml",
        "dags/.airflowignore",
        "dags/space_flights_airflow/__init__.py",
        "dags/space_flights_airflow/dag.py",
        "dags/space_flights_airflow/kedro_internals.py",
        "dags/space_flights_airflow/storage.py",
        "dags/space_flights_airflow/model.py",
        "dags/space_flights_airflow/run.py",
        "dags/space_flights_airflow_dag.py",
        "data/01_raw/companies.csv",
        "data/01_raw/reviews.csv",
        "data/01_raw/shuttles.xlsx",
        "plugins/preload.py",
        "pyproject.toml",
        "requirements-dev.txt",
        "requirements.txt",
        f"{package}/__init__.py",
        f"{package}/__main__.py",
        f"{package}/airflow_credentials.py",
        f"{package}/airflow_dag/__init__.py",
        f"{package}/airflow_dag/create.py",
        f"{package}/airflow_dag/dag.py.j2",
        f"{package}/airflow_dag/dag_file.py",
        f"{package}/airflow_dag/finding.py",
        f"{package}/airflow_dag/graph.py",
        f"{package}/airflow_dag/preflight.py",
        f"{package}/airflow_dag/settings.py",
        f"{package}/airflow_dag/settings.yml",
        f"{package}/airflow_dag/shared.py",
        f"{package}/airflow_dag/source.py",
        f"{package}/cli.py",
        f"{package}/package.py",
        f"{package}/pipeline_registry.py",
        f"{package}/pipelines/__init__.py",
        f"{package}/settings.py",
        "tests/__init__.py",
        "tests/conftest.py",
        "tests/dags/__init__.py",
        "tests/dags/conftest.py",
        "tests/dags/test_dag.py",
        "tests/test_pipelines.py",
        "tests/test_preflight.py",
    }


@pytest.mark.parametrize("starter", EMPTY)
def test_empty_project_is_the_other_on_its_platform_without_the_example(starter, reference):
    other = reference(EMPTY[starter])
    example = {name for name in other if "/pipelines/" in name or name.startswith("data/")}
    example -= {"src/space_flights/pipelines/__init__.py"}
    example |= {"conf/airflow/catalog_spaceflights.yml"}
    added = {"data/01_raw/.gitkeep", "tests/pipelines/__init__.py"}
    assert set(reference(starter)) == set(other) - example | added


def test_no_project_contains_a_placeholder(reference, starter):
    left = [name for name, (_, content) in reference(starter).items() if b"cookiecutter" in content]
    assert left == []


@pytest.mark.slow
def test_alias_creates_our_starter_without_warnings(installed, reference, tmp_path):
    environment = {"PATH": f"{installed}:/usr/bin:/bin", "DO_NOT_TRACK": "1", "HOME": str(tmp_path)}
    command = ["kedro", "new", f"--starter={STARTED}", "--name", NAME]
    done = run(installed / command[0], *command[1:], cwd=tmp_path, env=environment)
    output = (done.stdout + done.stderr).lower()
    assert [word for word in ("ignored", "warning", "deprecat") if word in output] == []
    assert files(tmp_path / FOLDER) == reference(STARTED)


@pytest.mark.slow
def test_kedro_lists_the_starters_with_their_origin(installed, tmp_path):
    listed = run(installed / "kedro", "starter", "list", cwd=tmp_path).stdout
    official, ours = listed.split("Starters from kedro_airflow_starters")
    assert [name for name in STARTERS if f"{name}:" not in ours] == []
    assert [name for name in STARTERS if f"{name}:" in official] == []


@pytest.mark.slow
def test_installed_package_contains_no_source_of_the_starters(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0] for name in names if ".dist-info" not in name} == {
        "kedro_airflow_starters"
    }
    assert [name for name in names if "layers" in name or "__pycache__" in name] == []
