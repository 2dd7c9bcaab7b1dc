"""Start Airflow's servers as forks of one process: `python airflow_servers.py SERVER...`.

Each is what `airflow SERVER` starts. Most of what that takes is the import of Airflow, which the
forks share.
"""

import gc
import importlib
import os
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

IMPORTED = (
    "airflow.__main__",
    "airflow.api_fastapi.app",
    "airflow.api_fastapi.core_api.routes.public",
    "airflow.api_fastapi.core_api.routes.ui",
    "airflow.api_fastapi.execution_api.routes",
    "airflow.cli.commands.db_command",
    "airflow.dag_processing.manager",
    "airflow.jobs.scheduler_job_runner",
    "airflow.jobs.triggerer_job_runner",
    "uvicorn",
)


def load() -> None:
    """Import what the servers have in common, like the command `airflow`: not from this folder."""
    sys.path[0] = str(Path(shutil.which("airflow")).parent)
    for module in IMPORTED:
        importlib.import_module(module)
    gc.freeze()  # or the forks would copy the memory that they share


def fork(command: str, prepare: Callable[[str], None] = lambda command: None) -> int:
    """Run a command of Airflow in a fork, which is prepared first, and return the fork's id."""
    sys.stdout.flush()
    pid = os.fork()
    if pid == 0:
        sys.argv = ["airflow", *command.split()]
        prepare(command)
        sys.modules["airflow.__main__"].main()
        sys.exit()
    return pid


def migrate() -> None:
    """Create or migrate the database.

    Raises:
        SystemExit: that failed.
    """
    _, status = os.waitpid(fork("db migrate"), 0)
    if status:
        sys.exit(os.waitstatus_to_exitcode(status))


def serve(servers: Sequence[str], prepare: Callable[[str], None] = lambda command: None) -> None:
    """Migrate the database, and run these servers until all have ended."""
    load()
    migrate()
    for server in servers:
        fork(server, prepare)
    for _ in servers:
        os.wait()


if __name__ == "__main__":
    serve(sys.argv[1:])
