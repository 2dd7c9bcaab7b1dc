"""What `make check` needs to know about Amazon MWAA."""

import os
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from mwaa.check import newest, resolve

from .settings import Settings

WHY = "The workers of MWAA share no disk."


def folders(settings: Settings) -> list[str]:
    """List the folders that all workers have: none."""
    return []


def problems(project: Path) -> Iterator[tuple[str, str, str]]:
    """Find what MWAA cannot install: where, why, and what to do."""
    if not find_spec("uv"):
        why = "uv is not installed here, so nothing tells whether MWAA can install them."
        yield "requirements.txt", why, "Run `make install`."
        return
    try:
        resolve(project, os.environ.get("MWAA_AIRFLOW") or newest())
    except SystemExit as refused:
        what = "Widen the range, or choose another release of it or of Airflow (MWAA_AIRFLOW)."
        yield "requirements.txt", str(refused), what
