"""A complete local Airflow, with a client for its REST API.

It has what `make airflow` starts: API server, DAG processor, scheduler and triggerer,
LocalExecutor, SQLite. Only the API server listens, and only to this machine.
"""

import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

import httpx

BIN = Path(sys.executable).parent
SERVERS = (
    "api-server",
    "dag-processor",
    "scheduler --skip-serve-logs",
    "triggerer --skip-serve-logs",
)
DONE = ("success", "failed", "upstream_failed", "skipped", "removed")


def start(servers: Sequence[str] = SERVERS) -> tuple[str, ...]:
    """Make the command that starts these servers, with the Python that is first on PATH."""
    return ("python", str(Path(__file__).with_name("airflow_servers.py")), *servers)


def free_ports(count: int) -> list[int]:
    """Find ports on which nothing listens."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for free in sockets:
            free.bind(("127.0.0.1", 0))
        return [free.getsockname()[1] for free in sockets]


class LocalAirflow:
    """A running Airflow for one DAGs folder, as a context manager.

    Args:
        home: AIRFLOW_HOME, created if missing; the servers write to ``standalone.log`` in it.
        dags: the DAGs folder.
        cwd: where Airflow is started.
        environment: more variables for Airflow and its tasks.
        inherited: the variables to start from.
        command: what starts Airflow; it must keep running.

    Raises:
        RuntimeError: Airflow stopped, or was not healthy within three minutes.
    """

    def __init__(
        self,
        home: Path,
        dags: Path,
        cwd: Path | None = None,
        environment: dict[str, str] | None = None,
        inherited: Mapping[str, str] = os.environ,
        command: Sequence[str | Path] = start(),
    ) -> None:
        port, *log_ports = free_ports(3)
        self.home = home
        self.cwd = cwd or home
        self.command = command
        self.url = f"http://127.0.0.1:{port}"
        self.environment = {
            **inherited,
            "AIRFLOW_HOME": str(home),
            "AIRFLOW__CORE__DAGS_FOLDER": str(dags),
            "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{self.url}/execution/",
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__CORE__PARALLELISM": "2",
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
            "AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL": "1",  # seconds to notice a task's end
            "AIRFLOW__API_AUTH__JWT_SECRET": secrets.token_hex(),
            "AIRFLOW__API__HOST": "127.0.0.1",
            "AIRFLOW__API__PORT": str(port),
            "AIRFLOW__API__BASE_URL": self.url,
            "AIRFLOW__API__WORKERS": "1",
            "AIRFLOW__LOGGING__TRIGGER_LOG_SERVER_PORT": str(log_ports[0]),
            "AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT": str(log_ports[1]),
            "NO_PROXY": "127.0.0.1",
            "no_proxy": "127.0.0.1",  # which counts more
            "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
            **(environment or {}),
        }
        self.api = httpx.Client(base_url=self.url, timeout=120, trust_env=False)

    def __enter__(self) -> "LocalAirflow":
        self.home.mkdir(parents=True, exist_ok=True)
        self.process = subprocess.Popen(
            self.command,
            cwd=self.cwd,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=(self.home / "standalone.log").open("w"),
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            self.wait_until_healthy()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.api.close()
        started = time.monotonic()
        try:
            os.killpg(self.process.pid, signal.SIGTERM)
            while True:  # until no process of the group is left
                self.process.poll()
                late = time.monotonic() > started + 20
                os.killpg(self.process.pid, signal.SIGKILL if late else 0)
                time.sleep(0.1)
        except ProcessLookupError:
            self.process.wait()

    def wait_until_healthy(self, seconds: int = 180) -> None:
        """Wait until all servers are there, and log in.

        Raises:
            RuntimeError: one of them is not, in that time.
        """
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and self.process.poll() is None:
            time.sleep(0.5)
            try:
                health = self.api.get("/api/v2/monitor/health").json()
                if all(
                    health[part]["status"] == "healthy" for part in ("scheduler", "dag_processor")
                ):
                    token = self.api.get("/auth/token").raise_for_status().json()["access_token"]
                    self.api.headers["Authorization"] = f"Bearer {token}"
                    return
            except (httpx.TransportError, json.JSONDecodeError):
                continue
        raise RuntimeError(f"Airflow did not start: see {self.home / 'standalone.log'}")

    def get(self, path: str) -> dict:
        """Get a resource from the REST API."""
        return self.api.get(f"/api/v2/{path}").raise_for_status().json()

    def trigger(self, dag_id: str, conf: dict | None = None, seconds: int = 60) -> str:
        """Wait until Airflow has read a DAG, unpause it, and trigger it.

        Returns:
            The id of the DAG run.
        """
        deadline = time.monotonic() + seconds
        while True:
            response = self.api.patch(f"/api/v2/dags/{dag_id}", json={"is_paused": False})
            if response.status_code != 404 or time.monotonic() > deadline:
                break
            errors = self.get("importErrors")["import_errors"]
            if errors:
                raise RuntimeError("\n".join(error["stack_trace"] for error in errors))
            time.sleep(0.5)
        response.raise_for_status()
        body = {"logical_date": None, "conf": conf or {}}
        run = self.api.post(f"/api/v2/dags/{dag_id}/dagRuns", json=body).raise_for_status().json()
        return run["dag_run_id"]

    def wait(
        self,
        dag_id: str,
        run_id: str,
        seconds: int = 600,
        report: Callable[[dict], None] = lambda task: None,
    ) -> str:
        """Wait for a DAG run to end, and report each task instance as it ends.

        Returns:
            The state of the run: success or failed.
        """
        reported: set[str] = set()
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            state = self.get(f"dags/{dag_id}/dagRuns/{run_id}")["state"]
            for task in self.tasks(dag_id, run_id):
                if task["state"] in DONE and task["task_id"] not in reported:
                    reported.add(task["task_id"])
                    report(task)
            if state in ("success", "failed"):
                return state
            time.sleep(0.5)
        raise RuntimeError(f"{run_id} of {dag_id} did not end in {seconds} s")

    def tasks(self, dag_id: str, run_id: str) -> list[dict]:
        """List the task instances of a run, in the order they started."""
        path = f"dags/{dag_id}/dagRuns/{run_id}/taskInstances?limit=1000"
        found = self.get(path)["task_instances"]
        return sorted(found, key=lambda task: task["start_date"] or "9")

    def log(self, dag_id: str, run_id: str, task: dict) -> str:
        """Read the log file of a task instance's last try."""
        folder = self.home / "logs" / f"dag_id={dag_id}" / f"run_id={run_id}"
        return (
            folder / f"task_id={task['task_id']}" / f"attempt={task['try_number']}.log"
        ).read_text()
