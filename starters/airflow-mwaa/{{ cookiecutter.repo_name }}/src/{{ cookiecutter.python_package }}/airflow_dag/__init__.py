"""Writes this project's Airflow DAGs for `kedro airflow create`. Tasks never import it."""
