"""Run a DAG in the image with a real scheduler, and print the outcome as JSON."""

import getpass
import json
import os
import sys
from pathlib import Path

from local_airflow import LocalAirflow

home = Path(os.environ["AIRFLOW_HOME"])
[dag_id] = sys.argv[1:]
with LocalAirflow(home, home / "dags", cwd=Path("/")) as airflow:
    run_id = airflow.trigger(dag_id)
    state = airflow.wait(dag_id, run_id)
    tasks = airflow.tasks(dag_id, run_id)
    for task in tasks:
        if task["state"] != "success":
            print(airflow.log(dag_id, run_id, task), file=sys.stderr)
states = {task["task_id"]: task["state"] for task in tasks}
print(json.dumps({"user": getpass.getuser(), "state": state, "tasks": states}))
