"""Say which values files helm needs for a choice of overlays.

`helm upgrade --install NAME apache-airflow/airflow $(python deploy/overlays.py flower ...)`
"""

import difflib
import os
import sys
from collections.abc import Sequence
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
CELERY = ("executor-celery-redis", "executor-celery-rabbitmq")
# No two of these go together.
ALTERNATIVES = (
    ("executor-kubernetes", *CELERY, "laptop"),
    ("high-availability", "laptop"),
    ("dags-git-sync", "dags-git-bundle"),
)
# Each needs one of those.
NEEDS = {"celery-autoscaling": CELERY, "flower": CELERY}


def arguments(overlays: Sequence[str]) -> list[str]:
    """List the arguments of helm for values.yaml and these overlays.

    Raises:
        ValueError: There is no such overlay, two exclude each other, or one lacks another.
    """
    known = sorted(path.stem for path in (FOLDER / "overlays").glob("*.yaml"))
    for name in overlays:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(known)}"
            raise ValueError(f"there is no overlay {name}: {hint}")
    for alternatives in ALTERNATIVES:
        chosen = [name for name in alternatives if name in overlays]
        if len(chosen) > 1:
            raise ValueError(f"{' and '.join(chosen)} exclude each other: choose one")
    for name, needed in NEEDS.items():
        if name in overlays and not set(needed) & set(overlays):
            raise ValueError(f"{name} needs {' or '.join(needed)}: add one")
    files = ["values.yaml", *(f"overlays/{name}.yaml" for name in dict.fromkeys(overlays))]
    return [part for file in files for part in ("-f", os.path.relpath(FOLDER / file))]


if __name__ == "__main__":
    try:
        print(*arguments(sys.argv[1:]))
    except ValueError as error:
        sys.exit(f"overlays.py: {error}")
