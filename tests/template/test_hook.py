"""The hook needs little to write the DAG, touches nothing else, and never fails a creation."""

import shutil
import sys

import pytest

from tests.conftest import (
    ENVIRONMENT,
    GENERATORS,
    NAME,
    ROOT,
    answers,
    cookiecutter,
    copier_copy,
    run,
    venv,
)

HOOK = ROOT / "hooks" / "post_gen_project.py"
DAG = "dags/space_flights_airflow_dag.py"


@pytest.fixture(scope="module")
def project_without_dag(template, forks, tmp_path_factory):
    """A project as the hook finds it."""
    folder = tmp_path_factory.mktemp("project")
    cookiecutter(template, "spaceflights-astro", folder, answers(), run=forks.run)
    (folder / "space-flights" / DAG).unlink()
    return folder / "space-flights"


@pytest.fixture
def project(project_without_dag, tmp_path):
    return shutil.copytree(project_without_dag, tmp_path / "space-flights")


def names(folder):
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*")}


def run_hook(project, python=sys.executable, **environment):
    return run(python, HOOK, cwd=project, env=ENVIRONMENT | environment)


@pytest.mark.slow
def test_dag_is_written_with_only_kedro_and_kedro_airflow_installed(installed, project):
    run(installed / "python", "-c", "import kedro, kedro_airflow", cwd=project)
    for library in ("airflow", "matplotlib", "pandas", "sklearn"):
        missing = run(installed / "python", "-c", f"import {library}", cwd=project, check=False)
        assert "ModuleNotFoundError" in missing.stderr
    run_hook(project, installed / "python")
    assert "train_model_node" in (project / DAG).read_text()


@pytest.mark.slow
def test_dag_is_the_same_with_and_without_the_libraries(project, installed, forks):
    run_hook(project, installed / "python")
    without = (project / DAG).read_text()
    forks.run("kedro", "airflow", "create", cwd=project)
    assert (project / DAG).read_text() == without


@pytest.mark.parametrize("generator", GENERATORS, ids=lambda generator: generator.__name__)
def test_after_creation_the_last_lines_say_what_to_do_next(generator, template, forks, tmp_path):
    done = generator(
        template, "astro-airflow-iris", tmp_path, answers(), run=forks.run,
        env=ENVIRONMENT | {"PWD": str(tmp_path)},
    )  # fmt: skip
    folder = tmp_path / "space-flights" if generator == copier_copy else "space-flights"
    lines = (
        f"The Airflow DAG is {folder}/{DAG}. Next, in a virtual environment:",
        f"  cd {folder}",
        "  make install   # the project, its tools, and Airflow",
        "  make airflow   # then open http://localhost:8080 and trigger space_flights",
    )
    assert "\n".join(lines) in done.stdout


@pytest.mark.slow
def test_hook_uses_no_network_and_leaves_only_the_dag(project, tmp_path, no_network):
    (tmp_path / "tmp").mkdir()
    before = names(project)
    run_hook(project, PYTHONPATH=str(no_network), TMPDIR=str(tmp_path / "tmp"))
    assert names(project) - before == {DAG}
    assert before <= names(project)
    assert names(tmp_path / "tmp") == set()


def test_hook_removes_byte_code_that_comes_with_an_installed_template(project, forks):
    (project / "dags" / "__pycache__").mkdir()
    forks.run(HOOK, cwd=project)
    assert [name for name in names(project) if "__pycache__" in name] == []


def test_without_kedro_one_message_says_what_to_run(project, tmp_path):
    bare = venv(tmp_path / "bare")
    done = run_hook(project, bare / "python")
    assert done.stdout.count("\n") == 1 and done.stderr == ""
    assert "`make install` and `make dag`" in done.stdout
    assert not (project / DAG).exists()


@pytest.mark.parametrize(
    "file, text",
    [
        ("conf/airflow/airflow.yml", "default: ["),
        ("src/space_flights/airflow_dag/dag.py.j2", "{% nothing %}"),
        ("src/space_flights/pipeline_registry.py", "raise SystemExit(3)"),
        ("src/space_flights/settings.py", "def"),
        ("pyproject.toml", "["),
    ],
)
def test_hook_does_not_fail_whatever_goes_wrong(project, forks, file, text):
    (project / file).write_text(text)
    done = forks.run(HOOK, cwd=project)
    assert "`make install` and `make dag`" in done.stdout
    assert not (project / DAG).exists()


def test_hook_keeps_an_existing_dag(project, forks):
    (project / DAG).write_text("# mine")
    assert "stays as it is" in forks.run(HOOK, cwd=project).stdout
    assert (project / DAG).read_text() == "# mine"


@pytest.mark.slow
def test_creation_succeeds_if_the_generator_lacks_kedro(template, tmp_path):
    tools = venv(tmp_path / "tools", "cookiecutter")
    command = ["cookiecutter", template, "--directory=starters/spaceflights-astro", "--no-input"]
    done = run(tools / command[0], *command[1:], f"project_name={NAME}", cwd=tmp_path)
    assert "`make install` and `make dag`" in done.stdout
    assert (tmp_path / "space-flights" / "pyproject.toml").is_file()
