"""The DAG keeps the rules that Astronomer's own tests ask of every DAG."""


def test_dag_has_tags(dag):
    assert dag.tags, "give the DAG tags in conf/airflow/airflow.yml and run `make dag`"


def test_tasks_are_tried_again(dag):
    assert dag.default_args["retries"] >= 2, "set retries to 2 or more and run `make dag`"
