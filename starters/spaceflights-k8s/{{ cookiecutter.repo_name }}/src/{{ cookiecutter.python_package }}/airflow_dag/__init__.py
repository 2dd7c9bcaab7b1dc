"""Writes the Airflow DAGs of this project, by `kedro airflow create`. Tasks import none of it."""
