"""This project's own commands: https://docs.kedro.org/en/stable/extend/common_use_cases/"""

from importlib.util import find_spec

import click

from .package import package


@click.group()
def cli() -> None:
    """This project's own commands."""


cli.add_command(package)
if find_spec("kedro_airflow"):  # installed only where DAGs are written
    from .airflow_dag.create import airflow

    cli.add_command(airflow)
