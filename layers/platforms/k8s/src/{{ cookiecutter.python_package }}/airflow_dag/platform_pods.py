"""What `make check` needs to know about pods."""

from collections.abc import Iterator
from pathlib import Path

from .settings import Settings

WHY = "The disk of a pod vanishes with the pod."


def folders(settings: Settings) -> list[str]:
    """List the folders where volume claims are mounted."""
    given = [settings.task, *settings.tasks.values()]
    mounted = [path for each in given for path in each.get("volumes", {}).values()]
    return mounted + [each.get("storage", "data") for each in given if "volume" in each]


def problems(project: Path) -> Iterator[tuple[str, str, str]]:
    """Find nothing: the tests of the DAG know what the cluster would refuse."""
    yield from ()
