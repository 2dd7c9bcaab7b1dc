from pathlib import Path

import pytest

try:
    from airflow.dag_processing.dagbag import DagBag
except ImportError:  # before Airflow 3.2
    from airflow.models.dagbag import DagBag

DAGS = Path(__file__).resolve().parents[2] / "dags"
DAG_FILES = sorted(DAGS.glob("*_airflow*_dag.py"))


@pytest.fixture(params=DAG_FILES, ids=lambda path: path.name)
def dag_file(request):
    return request.param


@pytest.fixture
def dag(dag_file):
    bag = DagBag(dag_file)
    if bag.import_errors:
        pytest.fail(
            f"dags/{dag_file.name} does not load: correct conf/airflow/airflow.yml, then run "
            "`make dag`\n" + "\n".join(bag.import_errors.values())
        )
    [dag] = bag.dags.values()
    return dag
