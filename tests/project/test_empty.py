"""A project without an example passes its tests as it is, and with the first node."""

import pytest

from tests.conftest import EMPTY

pytestmark = pytest.mark.slow
DAG = "dags/space_flights_airflow_dag.py"
COUNT = """from kedro.pipeline import Node, Pipeline


def count(words: str) -> int:
    return len(words.split())


def create_pipeline(**kwargs) -> Pipeline:
    return Pipeline([Node(count, "params:words", "number_of_words", name="count_node")])
"""


@pytest.mark.parametrize("created", EMPTY, indirect=True)
def test_new_project_passes_its_tests_and_says_that_there_are_no_nodes_yet(project, command):
    written = (project / DAG).read_text()
    assert "# No nodes yet: add a pipeline, and run `make dag`.\n" in written
    tested = command("make", "dag", "test").stdout
    assert " passed" in tested and "skipped" not in tested
    assert (project / DAG).read_text() == written
    command("ruff", "check", ".")
    command("ruff", "format", "--check", ".")


@pytest.mark.parametrize("created", ["airflow-astro"], indirect=True)
def test_first_pipeline_is_created_and_its_node_is_in_the_dag(project, command):
    command("kedro", "pipeline", "create", "counting")
    (project / "src/space_flights/pipelines/counting/pipeline.py").write_text(COUNT)
    stale = command("make", "test", check=False)
    assert "is older than the pipelines" in stale.stdout
    assert "not in conf/base: ['params:words']" in stale.stdout
    (project / "conf/base/parameters_counting.yml").write_text("words: to be or not to be\n")
    command("make", "dag", "test")
    assert (
        "[Node('count_node', ['params:words'], ['number_of_words']" in (project / DAG).read_text()
    )
    command("kedro", "run", "--env=airflow")
    assert [path.name for path in project.glob("data/02_intermediate/kedro/*")] == [
        "number_of_words.pickle"
    ]
