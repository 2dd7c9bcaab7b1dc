"""This project's own commands: https://docs.kedro.org/en/stable/extend/common_use_cases/"""

from contextlib import suppress

import click


@click.group()
def cli() -> None:
    """This project's own commands."""


with suppress(ModuleNotFoundError):  # kedro-airflow is installed only where DAGs are written
    from .airflow_dag.create import airflow

    cli.add_command(airflow)
