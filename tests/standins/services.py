"""Run Airflow's services as in pods: `python services.py ACCOUNTS MOUNTED SERVICE...`.

Each sees its service account, a folder in ACCOUNTS, where pods have it.
"""

import ctypes
import subprocess
import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[2])
from airflow_servers import serve  # noqa: E402

CLONE_NEWNS = 0x20000  # Linux: a mount namespace of its own; os.unshare() came with Python 3.12


accounts, mounted, *services = sys.argv[1:]


def enter(service: str) -> None:
    """Mount a service's account, for this process and those that it starts."""
    if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNS):
        raise OSError(ctypes.get_errno(), "unshare")
    subprocess.run(["mount", "--make-rprivate", "/"], check=True)
    Path(mounted).mkdir(parents=True, exist_ok=True)
    subprocess.run(["mount", "--bind", Path(accounts, service), mounted], check=True)


serve(services, enter)
