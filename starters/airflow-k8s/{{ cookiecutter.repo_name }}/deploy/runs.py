"""Runs of the DAG, through Airflow's REST API."""

import base64
import json
import shlex
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime
from typing import Any

import httpx
from tools import DAG, NAME, POLL, RELEASE, Process, kubectl, require, scope

RUNS = f"/api/v2/dags/{DAG}/dagRuns"


def trigger() -> None:
    """Unpause and trigger the DAG, and follow the run to its end."""
    airflow = Airflow()
    airflow.unpause()
    run = airflow.ask("POST", RUNS, {"logical_date": None})
    path = f"{RUNS}/{run['dag_run_id']}"
    print(f"Triggered {run['dag_run_id']}")
    known: dict[str, str] = {}
    while run["state"] not in ("success", "failed"):
        time.sleep(POLL)
        run = airflow.ask("GET", path)
        for task in airflow.tasks(path):
            if task["state"] and known.get(task["name"]) != task["state"]:
                known[task["name"]] = task["state"]
                print(f"{datetime.now():%H:%M:%S}  {task['state']:16} {task['name']}")
    if run["state"] == "failed":
        sys.exit("The run has failed: `make logs` shows why.")
    print(f"The run has succeeded in {run['duration']:.0f} s.")


def logs() -> None:
    """Show the last try of all tasks of the last run, failed ones last."""
    airflow = Airflow()
    found = airflow.ask("GET", f"{RUNS}?order_by=-run_after&limit=1")["dag_runs"]
    if not found:
        sys.exit(f"The DAG {DAG} has not run yet: `make trigger`.")
    [run] = found
    path = f"{RUNS}/{run['dag_run_id']}"
    print(f"{run['dag_run_id']}: {run['state']}")
    for task in sorted(airflow.tasks(path), key=lambda task: task["state"] == "failed"):
        print(f"\n=== {task['name']}: {task['state']}, try {task['try_number']}")
        if task["try_number"]:
            print(*airflow.log(path, task), sep="\n")


class Airflow:
    """Airflow's REST API as the user admin, on a port that kubectl forwards."""

    def __init__(self) -> None:
        require("kubectl")
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.process: Process | None = None
        url = f"http://127.0.0.1:{self.port}"
        self.http = httpx.Client(base_url=url, timeout=60, trust_env=False)
        self.http.headers["Connection"] = "close"
        keys = json.loads(kubectl("get", "secret", f"{NAME}-keys", "--output=json"))["data"]
        password = base64.b64decode(keys["admin-password"]).decode()
        user = {"username": "admin", "password": password}
        if not (answer := self.ask("POST", "/auth/token", user, none_if=401)):
            sys.exit(
                f"Airflow refuses the user admin with the password of the secret {NAME}-keys: "
                "set it to that again, in Airflow's UI."
            )
        self.http.headers["Authorization"] = f"Bearer {answer['access_token']}"

    def forward(self) -> Process:
        """Let kubectl forward the port, unless it does."""
        if self.process and self.process.poll() is None:
            return self.process
        service = f"svc/{RELEASE}-api-server"
        self.process = Process("kubectl", *scope(), "port-forward", service, f"{self.port}:8080")
        while self.process.poll() is None:
            with suppress(OSError), socket.create_connection(("127.0.0.1", self.port)):
                return self.process
            time.sleep(0.1)
        sys.exit(self.process.failure())

    def ask(self, method: str, path: str, body: Any = None, none_if: int = 0) -> Any:
        """Ask the REST API, again if the connection breaks; the error ``none_if`` is None."""
        for seconds in (1, 5, 25, None) if method == "GET" else (None,):
            forwarded = self.forward()
            try:
                answer = self.http.request(method, path, json=body)
            except httpx.TransportError as error:
                if seconds is None:
                    command = shlex.join(forwarded.command)
                    sys.exit(f"Airflow does not answer through {command}: {error}")
                time.sleep(seconds)
                continue
            if answer.status_code == none_if:
                return None
            if answer.is_error:
                said = answer.text[:1000]
                sys.exit(f"Airflow answers {answer.status_code} to {answer.url}: {said}")
            return answer.json()

    def unpause(self) -> None:
        """Unpause the DAG, as soon as Airflow has read it."""
        for attempt in range(60):
            if self.ask("PATCH", f"/api/v2/dags/{DAG}", {"is_paused": False}, none_if=404):
                return
            for error in self.ask("GET", "/api/v2/importErrors")["import_errors"]:
                sys.exit(f"Airflow cannot read {error['filename']}:\n{error['stack_trace']}")
            if not attempt:
                print("Waiting until Airflow has read the DAG")
            time.sleep(POLL)
        sys.exit(f"Airflow has no DAG {DAG}. Write it by `make dag`, and deploy it by `make up`.")

    def tasks(self, path: str) -> list[dict[str, Any]]:
        """List the task instances of a run, in the order in which they have started."""
        found: list[dict[str, Any]] = []
        pages = f"{path}/taskInstances?order_by=id&limit=100&offset="
        while page := self.ask("GET", f"{pages}{len(found)}")["task_instances"]:
            found += page
        for task in found:
            index = task["map_index"]
            task["name"] = task["task_id"] + (f"[{index}]" if index >= 0 else "")
        return sorted(found, key=lambda task: task["start_date"] or "9")

    def log(self, path: str, task: dict[str, Any]) -> Iterator[str]:
        """Read the log of a task's last try, line by line."""
        path += f"/taskInstances/{task['task_id']}/logs/{task['try_number']}"
        path += f"?map_index={task['map_index']}&full_content=true"
        for record in self.ask("GET", path)["content"]:
            if isinstance(record, str):
                yield record
            elif not record["event"].startswith("::"):  # marks of groups
                time_of_day = (record.get("timestamp") or "")[11:19]
                yield f"{time_of_day:8} {record.get('level', ''):8} {record['event']}"
                for error in record.get("error_detail") or []:
                    for frame in error["frames"]:
                        where = f'"{frame["filename"]}", line {frame["lineno"]}'
                        yield f"  File {where}, in {frame['name']}"
                    yield f"{error['exc_type']}: {error['exc_value']}"
