"""What `make check` needs to know about Amazon MWAA."""

import os
from collections.abc import Iterator
from pathlib import Path

from mwaa.check import resolve

from .settings import Settings

WHY = "The workers of MWAA share no disk."


def folders(settings: Settings) -> list[str]:
    """List the folders that all workers have: none."""
    return []


def problems(project: Path) -> Iterator[tuple[str, str, str]]:
    """Find what MWAA cannot install: where, why, and what to do."""
    try:
        resolve(project, os.environ["MWAA_AIRFLOW"])
    except SystemExit as refused:
        what = "Widen the range, or choose another release of it or of Airflow (MWAA_AIRFLOW)."
        yield "requirements.txt", str(refused), what
