"""Each starter creates a project with a DAG, with pytest-cookies' and pytest-copie's fixtures."""

import pytest
from pytest_copie.plugin import Copie

from tests.conftest import NAME, ROOT

pytestmark = pytest.mark.slow
DAG = "dags/space_flights_airflow_dag.py"


@pytest.fixture
def copie(template, tmp_path):
    """pytest-copie's fixture; its plugin is off because pytest-cookies has the same option."""
    return Copie(template, tmp_path, tmp_path)


def test_cookies_bakes_a_project_with_a_dag(cookies, starter):
    result = cookies.bake({"project_name": NAME}, template=str(ROOT / "starters" / starter))
    assert (result.exit_code, result.exception) == (0, None)
    assert result.project_path.name == "space-flights"
    assert (result.project_path / DAG).is_file()


def test_copie_copies_a_project_with_a_dag(copie, starter):
    result = copie.copy({"starter": starter, "project_name": NAME})
    assert (result.exit_code, result.exception) == (0, None)
    assert (result.project_dir / DAG).is_file()
