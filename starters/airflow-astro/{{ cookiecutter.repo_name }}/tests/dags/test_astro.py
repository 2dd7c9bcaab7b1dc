"""The DAG follows the rules in Astronomer's own tests of DAGs."""


def test_dag_has_tags(dag):
    assert dag.tags, "give the DAG tags in conf/airflow/airflow.yml and run `make dag`"


def test_tasks_are_retried(dag):
    assert dag.default_args["retries"] >= 2, "set retries to 2 or more and run `make dag`"
