"""Load the DAGs in the image like Airflow's own commands, and print their properties as JSON."""

import json
from pathlib import Path

from airflow.dag_processing.dagbag import BundleDagBag

bag = BundleDagBag("dags", bundle_path=Path("dags").resolve())
dags = {
    dag.dag_id: {
        "tags": sorted(dag.tags),
        "retries": {task.task_id: task.retries for task in dag.tasks},
    }
    for dag in bag.dags.values()
}
print(json.dumps({"errors": bag.import_errors, "dags": dags}))
