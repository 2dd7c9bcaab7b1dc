"""Run Airflow's servers, and start each again when it ends: `python restart.py HOME SERVER...`.

A server stays away as long as there is a file HOME/SERVER.away.
"""

import os
import sys
import time
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[2])
from airflow_servers import fork, load, migrate  # noqa: E402

home, *servers = sys.argv[1:]
load()
migrate()
running: dict[str, int] = {}
while True:
    for server in servers:
        if server in running and os.waitpid(running[server], os.WNOHANG) != (0, 0):
            del running[server]
        elif server not in running and not Path(home, f"{server}.away").exists():
            running[server] = fork(server)
            Path(home, f"{server}.pid").write_text(str(running[server]))
    time.sleep(1)
