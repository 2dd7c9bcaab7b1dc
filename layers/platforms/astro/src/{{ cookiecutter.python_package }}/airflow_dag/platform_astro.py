"""What `make check` needs to know about Astro."""

import re
from collections.abc import Iterator
from pathlib import Path

from .settings import Settings

WHY = "The workers of a Deployment share no disk."


def folders(settings: Settings) -> list[str]:
    """List the folders that all workers have: the image has the raw data, see .dockerignore."""
    return ["data/01_raw"]


def problems(project: Path) -> Iterator[tuple[str, str, str]]:
    """Find what the image cannot install: where, why, and what to do."""
    requirements = (project / "requirements.txt").read_text(encoding="utf-8")
    if re.search(r"(?mi)^apache-airflow(?!-providers)\b", requirements):
        why = "The image has its own Airflow, and refuses to install another."
        yield "requirements.txt", why, "Remove apache-airflow: its version is in the Dockerfile."
