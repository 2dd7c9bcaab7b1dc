"""Commands of this project beside Kedro's: https://docs.kedro.org/en/stable/extend/common_use_cases/"""

from contextlib import suppress

import click


@click.group()
def cli() -> None:
    """Commands of this project."""


with suppress(ModuleNotFoundError):  # kedro-airflow is installed where DAGs are written
    from .airflow_dag.create import airflow

    cli.add_command(airflow)
