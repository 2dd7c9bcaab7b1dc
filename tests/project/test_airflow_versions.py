"""A project's own tests pass and its whole DAG runs on other versions of Airflow and Python.

All other tests run on Airflow 3.3 and one Python. Each version here takes 50 seconds of CPU time,
so only the oldest and the newest are tested by default; AIRFLOW_VERSIONS=all adds others.
"""

import os
import re

import pytest

from tests.conftest import answers, edit, find_python, kedro_new, metrics, venv

pytestmark = pytest.mark.slow
VERSIONS = {"3.0.6": "3.10", "3.4.0b2": "3.13"}
if os.environ.get("AIRFLOW_VERSIONS") == "all":
    VERSIONS |= {"3.1.8": "3.12", "3.2.1": "3.12", "3.3.2": "3.12"}
WRITTEN = [
    "X_test.pickle",
    "X_train.pickle",
    "company_rating_plot.png",
    "metrics.json",
    "model_input_table.parquet",
    "passenger_capacity_plot.png",
    "preprocessed_companies.parquet",
    "preprocessed_shuttles.parquet",
    "price_prediction_plot.png",
    "regressor.pickle",
    "y_test.pickle",
    "y_train.pickle",
]


@pytest.fixture(params=VERSIONS)
def version(request):
    return request.param


@pytest.fixture
def created(version, template, tmp_path):
    """A project for this Airflow, and its own environment."""
    folder = tmp_path / "created"
    folder.mkdir()
    kedro_new(template, "spaceflights-astro", folder, answers())
    project = folder / "space-flights"
    airflow = f"apache-airflow=={version}"
    if version < "3.3":
        airflow += "\nfastapi<0.132  # newer ones refuse the requests of its tasks"
    tools = project / "requirements-dev.txt"
    edit(tools, "apache-airflow~=3.3.0", airflow)
    requirements = ["--requirement", project / "requirements.txt", "--requirement", tools]
    return project, venv(tmp_path / "venv", *requirements, python=find_python(VERSIONS[version]))


@pytest.fixture
def output(project, command):
    """Run a command, and return its lines; none warns or complains of a file of the project."""

    def output_of(*words, **environment):
        done = command(*words, **environment)
        lines = f"{done.stdout}\n{done.stderr}".splitlines()
        about = [line for line in lines if str(project) in line]
        assert [line for line in about if re.search("warning|error|fail", line, re.I)] == []
        return lines

    return output_of


def test_project_passes_its_tests_and_runs_its_dag(version, project, output):
    tested = output("python", "-m", "pytest", "tests", ".astro")
    [collected] = [line.split()[1] for line in tested if line.startswith("collected ")]
    [result] = [line for line in tested if re.search(r"=+ .* in [\d.]+s", line)]
    assert re.findall(r"(\d+) (?!warnings?)(\w+)[, ]", result) == [(collected, "passed")]

    airflow = {
        "AIRFLOW__CORE__DAGS_FOLDER": str(project / "dags"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(project / "plugins"),
    }
    output("airflow", "db", "migrate", **airflow)
    if version < "3.1":  # where a task fails whose assets are not in the database
        output("airflow", "dags", "reserialize", **airflow)
    output("airflow", "dags", "test", "space_flights", **airflow)
    written = [file for file in project.glob("data/0[2-8]*/**/*") if file.is_file()]
    assert sorted(file.name for file in written) == WRITTEN
    assert metrics(project)["r2_score"] > 0.9
