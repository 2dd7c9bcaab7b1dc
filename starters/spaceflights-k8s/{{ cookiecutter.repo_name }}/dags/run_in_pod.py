"""Do a task in its pod, as kedro_pod.py asks: python dags/run_in_pod.py FUNCTION ARGUMENTS."""

import json
import logging
import sys
from pathlib import Path
from types import SimpleNamespace

import kedro_run


def main(function: str, arguments: str) -> None:
    """Call a function of kedro_run.py.

    Args:
        function: its name.
        arguments: what it takes by name, in JSON.
    """
    form = "%(asctime)s %(levelname)s %(name)s: %(message)s"
    logging.basicConfig(level=logging.INFO, format=form, datefmt="%H:%M:%S", stream=sys.stdout)
    given = json.loads(arguments)
    project_path = Path(__file__).resolve().parents[1]
    given["pipeline"] = SimpleNamespace(project_path=project_path, **given["pipeline"])
    if "nodes" in given:
        given["nodes"] = [SimpleNamespace(**node) for node in given["nodes"]]
    getattr(kedro_run, function)(**given)


if __name__ == "__main__":
    main(*sys.argv[1:])
