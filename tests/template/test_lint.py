"""Linters and type checkers find nothing, neither in the repository nor in its templates."""

import shutil

import jinja2
import pytest

from compose import PROJECT, STARTERS
from tests.conftest import ENVIRONMENT, ROOT, answers, cookiecutter, edit, run
from tests.linked import FOLDER


@pytest.mark.parametrize(
    "command", ["ruff check", "ruff format --check", pytest.param("mypy", marks=pytest.mark.slow)]
)
def test_nothing_is_found(command):
    run(*command.split(), cwd=ROOT)


@pytest.mark.slow
def test_engine_and_airflow_dag_are_strictly_typed():
    engine = ["freight_airflow", "freight.airflow_dag", "freight.airflow_credentials"]
    options = ["--config-file=", "--strict", "--ignore-missing-imports"]
    packages = [option for name in engine for option in ("-p", name)]
    environment = ENVIRONMENT | {"MYPYPATH": FOLDER.name}
    run("mypy", *options, *packages, cwd=FOLDER.name, env=environment)


@pytest.fixture
def workflows(tmp_path):
    """The workflows of this repository, and those of a project of each starter."""
    shutil.copytree(ROOT / ".github", tmp_path / "repository" / ".github")
    for starter in STARTERS:
        source = ROOT / "starters" / starter / PROJECT
        for path in source.glob(".github/**/*.yml"):
            copy = tmp_path / starter / path.relative_to(source)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_text(jinja2.Template(path.read_text()).render(cookiecutter=answers()))
    return tmp_path


ZIZMOR = ["zizmor", "--offline", "--strict-collection", "--min-severity=medium"]


@pytest.mark.slow
def test_zizmor_finds_nothing_in_the_workflows(linters, workflows):
    run(linters / ZIZMOR[0], *ZIZMOR[1:], workflows, cwd=workflows)


@pytest.mark.slow
def test_zizmor_refuses_an_action_that_is_not_named_by_its_commit(linters, workflows):
    file = workflows / "spaceflights-mwaa" / ".github" / "workflows" / "ci.yml"
    edit(file, "3d3c42e5aac5ba805825da76410c181273ba90b1 # v7.0.1", "v7.0.1")
    found = run(linters / ZIZMOR[0], *ZIZMOR[1:], workflows, cwd=workflows, check=False)
    assert found.returncode != 0 and "unpinned-uses" in found.stdout


def test_hadolint_finds_nothing_in_astros_dockerfile():
    assert run("hadolint", "layers/platforms/astro/Dockerfile", cwd=ROOT).stdout == ""


@pytest.mark.slow
@pytest.mark.parametrize("starter", ["spaceflights-astro", "spaceflights-k8s", "spaceflights-mwaa"])
def test_checkov_finds_nothing_in_a_new_project(starter, linters, template, tmp_path):
    cookiecutter(template, starter, tmp_path, answers())
    command = ["--directory=.", "--skip-download", "--quiet", "--compact"]
    command += ["--skip-path=dags/pod.yaml"]  # no manifest, as it says
    command += ["--framework", "cloudformation", "dockerfile", "github_actions", "kubernetes"]
    run(linters / "checkov", *command, "secrets", cwd=tmp_path / "space-flights")
