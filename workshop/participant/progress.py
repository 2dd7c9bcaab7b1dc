"""Show which exercises are done, as this machine's Airflow and the project say.

With the address of the teacher's page, send it your name and the numbers of those exercises, and
nothing else.
"""

import json
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

AIRFLOW = "http://127.0.0.1:8080"
S3 = "http://127.0.0.1:9000/flights?prefix=08_reporting"
PROJECT = Path(__file__).resolve().parent / "space-flights"
DAG = "space_flights"
EXERCISES = "create run break form group S3 move backfill".split()
# Airflow is on this machine, and the teacher's page in this room: no proxy.
OPEN = urllib.request.build_opener(urllib.request.ProxyHandler({})).open


def get(path: str, token: str = "") -> Any:
    """Get something from Airflow's API."""
    headers = {"Authorization": f"Bearer {token}"}
    request = urllib.request.Request(AIRFLOW + path, headers=headers)
    with OPEN(request, timeout=10) as response:
        return json.load(response)


def in_s3() -> bool:
    """Tell whether a run has saved its results in the bucket."""
    try:
        with OPEN(S3, timeout=10) as response:
            return b"<Key>" in response.read()
    except OSError:
        return False


def done() -> list[int]:
    """Find the numbers of the exercises that are done."""
    if not (PROJECT / "dags" / f"{DAG}_airflow_dag.py").is_file():
        return []
    try:
        token = get("/auth/token")["access_token"]
        dag = get(f"/api/v2/dags/{DAG}/details", token)
        tasks = get(f"/api/v2/dags/{DAG}/tasks", token)["tasks"]
        runs = get(f"/api/v2/dags/{DAG}/dagRuns?limit=100&order_by=start_date", token)["dag_runs"]
        tried = get(f"/api/v2/dags/{DAG}/dagRuns/~/taskInstances?limit=1000", token)
    except OSError as error:
        print(f"Airflow at {AIRFLOW} does not tell: {error}. Is `make airflow` running?")
        return [1]
    green = [run for run in runs if run["state"] == "success"]
    healed = [
        task
        for task in tried["task_instances"]
        if task["try_number"] > 1 and task["dag_run_id"] in [run["dag_run_id"] for run in green]
    ]
    answers = (PROJECT / ".copier-answers.yml").read_text(encoding="utf-8")
    reached = {
        1: True,
        2: green,
        3: healed,
        4: "max_price" in dag["params"] and [run for run in green if "max_price" in run["conf"]],
        5: len(tasks) == 3,
        6: in_s3(),
        7: "\nstarter: spaceflights-astro\n" not in answers,
        8: [run for run in green if run["run_type"] == "backfill"],
    }
    return [number for number, yes in reached.items() if yes]


def send(name: str, numbers: list[int], url: str) -> None:
    """Tell the teacher's page."""
    body = json.dumps({"name": name, "done": numbers}).encode()
    try:
        OPEN(urllib.request.Request(url, body), timeout=10).close()
    except (OSError, ValueError) as error:
        sys.exit(f"{url} does not answer: {error}. Ask your teacher for the page's address.")
    print(f"Sent to {url}: {body.decode()}")


def main(name: str, *url: str) -> None:
    numbers = done()
    for number, title in enumerate(EXERCISES, 1):
        print(f"{'done' if number in numbers else '    '}  {number} {title}")
    if url:
        send(name, numbers, url[0])


if __name__ == "__main__":
    main(*sys.argv[1:])
