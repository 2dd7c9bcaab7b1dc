"""Airflow whose servers start again when they end, as their containers do on a platform."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from local_airflow import LocalAirflow
from tests.processes import kill

SERVERS = ("scheduler", "dag-processor", "api-server")


class RestartingAirflow(LocalAirflow):
    """A running Airflow with LocalExecutor, whose servers can be killed or taken away.

    Args:
        home: AIRFLOW_HOME, created if missing; the servers write to ``standalone.log`` in it.
        dags: the DAGs folder.
        environment: more variables for Airflow and its tasks, the database's among them.
    """

    def __init__(self, home: Path, dags: Path, environment: dict[str, str]) -> None:
        command = ["python", Path(__file__).with_name("restart.py"), home, *SERVERS]
        super().__init__(home, dags, environment=environment, command=command)

    def kill(self, *servers: str) -> None:
        """Kill servers with all that they have started: the scheduler with its tasks."""
        for server in servers:
            kill(psutil.Process(int((self.home / f"{server}.pid").read_text())))

    @contextmanager
    def without(self, server: str) -> Iterator[None]:
        """Have a server away inside the block, and wait for it at its end."""
        away = self.home / f"{server}.away"
        away.touch()
        try:
            self.kill(server)
            yield
        finally:
            away.unlink()
        self.wait_until_healthy()
