"""Runs of the DAG, through Airflow's REST API."""

import base64
import http.client
import json
import shlex
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from tools import DAG, NAME, POLL, RELEASE, failure, kubectl, require, say, scope, stop


def trigger() -> None:
    """Unpause and trigger the DAG, and follow the run to its end."""
    with rest_api() as airflow:
        airflow.unpause()
        run = airflow.ask("POST", f"dags/{DAG}/dagRuns", {"logical_date": None})
        path = f"dags/{DAG}/dagRuns/{run['dag_run_id']}"
        say(f"Triggered {run['dag_run_id']}")
        known: dict[str, str] = {}
        while run["state"] not in ("success", "failed"):
            time.sleep(POLL)
            run = airflow.ask("GET", path)
            for task in airflow.tasks(path):
                if task["state"] and known.get(task["name"]) != task["state"]:
                    known[task["name"]] = task["state"]
                    say(f"{datetime.now():%H:%M:%S}  {task['state']:16} {task['name']}")
    if run["state"] == "failed":
        sys.exit("The run has failed: `make logs` shows why.")
    say(f"The run has succeeded in {run['duration']:.0f} s.")


def logs() -> None:
    """Show the last try of all tasks of the last run, failed ones last."""
    with rest_api() as airflow:
        found = airflow.ask("GET", f"dags/{DAG}/dagRuns?order_by=-run_after&limit=1")["dag_runs"]
        if not found:
            sys.exit(f"The DAG {DAG} has not run yet: `make trigger`.")
        [run] = found
        path = f"dags/{DAG}/dagRuns/{run['dag_run_id']}"
        say(f"{run['dag_run_id']}: {run['state']}")
        tasks = airflow.tasks(path)
        for task in sorted(tasks, key=lambda task: task["state"] == "failed"):
            say(f"\n=== {task['name']}: {task['state']}, try {task['try_number']}")
            if task["try_number"]:
                say(*airflow.log(path, task), sep="\n")


@contextmanager
def rest_api() -> Iterator["Airflow"]:
    """Log in to Airflow, and at the end stop what forwards its port."""
    require("kubectl")
    with tempfile.TemporaryFile("w+") as said:
        airflow = Airflow(said)
        try:
            airflow.log_in()
            yield airflow
        finally:
            if airflow.process:
                stop(airflow.process)


class Airflow:
    """Airflow's REST API as the user admin, on a port that kubectl forwards."""

    def __init__(self, said: Any) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        service = f"svc/{RELEASE}-api-server"
        self.command = ["kubectl", *scope(), "port-forward", service, f"{self.port}:8080"]
        self.said = said
        self.process: subprocess.Popen | None = None
        self.headers = {"Content-Type": "application/json"}
        self.opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def log_in(self) -> None:
        """Get a token for the password that is in the cluster."""
        keys = json.loads(kubectl("get", "secret", f"{NAME}-keys", "--output=json"))["data"]
        password = base64.b64decode(keys["admin-password"]).decode()
        try:
            answer = self.ask("POST", "/auth/token", {"username": "admin", "password": password})
        except urllib.error.HTTPError as error:
            if error.code != 401:
                raise
            sys.exit(
                f"Airflow refuses the user admin with the password of the secret {NAME}-keys: "
                "set it to that again, in Airflow's UI."
            )
        self.headers["Authorization"] = f"Bearer {answer['access_token']}"

    def forward(self) -> None:
        """Let kubectl forward the port, unless it does."""
        if self.process and self.process.poll() is None:
            return
        self.process = subprocess.Popen(
            self.command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=self.said
        )
        while self.process.poll() is None:
            with socket.socket() as client:
                if client.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.1)
        sys.exit(failure(self.command, self.said))

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        """Ask the REST API; a question is repeated when the connection breaks."""
        for seconds in (1, 5, 25, None) if method == "GET" else (None,):
            self.forward()
            try:
                return json.loads(self._read(method, path, body))
            except urllib.error.HTTPError:
                raise
            except (OSError, http.client.HTTPException) as error:
                if seconds is None:
                    sys.exit(f"Airflow does not answer through {shlex.join(self.command)}: {error}")
                time.sleep(seconds)

    def _read(self, method: str, path: str, body: Any = None, **headers: str) -> str:
        url = f"http://127.0.0.1:{self.port}{path if path[0] == '/' else f'/api/v2/{path}'}"
        request = urllib.request.Request(url, method=method, headers=self.headers | headers)
        request.data = None if body is None else json.dumps(body).encode()
        with self.opener.open(request, timeout=60) as answer:
            return answer.read().decode()

    def unpause(self) -> None:
        """Unpause the DAG, as soon as Airflow has read it."""
        for attempt in range(60):
            try:
                self.ask("PATCH", f"dags/{DAG}", {"is_paused": False})
                return
            except urllib.error.HTTPError as error:
                if error.code != 404:
                    raise
            for error in self.ask("GET", "importErrors")["import_errors"]:
                sys.exit(f"Airflow cannot read {error['filename']}:\n{error['stack_trace']}")
            if not attempt:
                say("Waiting until Airflow has read the DAG")
            time.sleep(POLL)
        sys.exit(f"Airflow has no DAG {DAG}. Write it by `make dag`, and deploy it by `make up`.")

    def tasks(self, path: str) -> list[dict[str, Any]]:
        """List the task instances of a run, in the order in which they have started."""
        found: list[dict[str, Any]] = []
        while True:
            page = f"{path}/taskInstances?order_by=id&limit=100&offset={len(found)}"
            answer = self.ask("GET", page)
            found += answer["task_instances"]
            if len(found) >= answer["total_entries"] or not answer["task_instances"]:
                break
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
