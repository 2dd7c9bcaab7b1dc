"""Airflow whose servers start again when they end, as their containers do on a platform."""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from local_airflow import LocalAirflow
from tests.processes import kill

SERVERS = ("scheduler", "dag-processor", "api-server")
LOOP = "while :; do [ -e {away} ] || airflow {server}; sleep 1; done &"


class RestartingAirflow(LocalAirflow):
    """A running Airflow with LocalExecutor, whose servers can be killed or taken away.

    Args:
        home: AIRFLOW_HOME, created if missing; the servers write to ``standalone.log`` in it.
        dags: the DAGs folder.
        environment: more variables for Airflow and its tasks, the database's among them.
    """

    def __init__(self, home: Path, dags: Path, environment: dict[str, str]) -> None:
        loops = [LOOP.format(away=home / f"{server}.away", server=server) for server in SERVERS]
        script = "\n".join(["airflow db migrate || exit", *loops, "wait"])
        secret = {"AIRFLOW__API_AUTH__JWT_SECRET": secrets.token_hex()}
        super().__init__(
            home, dags, environment=secret | environment, command=["bash", "-c", script]
        )

    def kill(self, *servers: str) -> None:
        """Kill servers with all that they have started: the scheduler with its tasks."""
        loops = sorted(psutil.Process(self.process.pid).children(), key=psutil.Process.create_time)
        for server, loop in zip(SERVERS, loops, strict=True):
            if server in servers:
                kill(*loop.children())

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
