"""How servers end that are killed: with all that they have started, as in a container."""

import contextlib
import os
import subprocess
import time

import psutil


def kill(*servers: psutil.Process | subprocess.Popen) -> None:
    """Kill servers, and all that they have started: tasks have sessions of their own.

    What a server has forked may hold its connection to the database, and so the locks of its last
    transaction. All are stopped before the first is killed, so that none reports the death of
    another.
    """
    numbers = {server.pid for server in servers}
    stopped: set[psutil.Process] = set()
    while found := started_by(numbers) - stopped:
        for process in found:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.suspend()
        stopped |= found
    for process in sorted(stopped, key=psutil.Process.create_time, reverse=True):
        with contextlib.suppress(psutil.NoSuchProcess):  # a stopped orphan would get a SIGHUP
            process.kill()
    deadline = time.monotonic() + 60
    while any(map(alive, stopped)):
        assert time.monotonic() < deadline
        time.sleep(0.1)


def children(process: subprocess.Popen) -> list[psutil.Process]:
    """What a process has started itself, in that order."""
    found = psutil.Process(process.pid).children()
    return sorted(found, key=lambda child: (child.create_time(), child.pid))


def started_by(numbers: set[int]) -> set[psutil.Process]:
    """These processes, those of their sessions, and all that they have started."""
    found = set()
    for process in psutil.process_iter():
        with contextlib.suppress(ProcessLookupError, psutil.NoSuchProcess):
            if process.pid in numbers or os.getsid(process.pid) in numbers:
                found |= {process, *process.children(recursive=True)}
    return found


def listening(server: subprocess.Popen) -> set[tuple[str, int]]:
    """The addresses and ports on which a server, and all that it has started, wait for clients."""
    found = set()
    for process in started_by({server.pid}):
        with contextlib.suppress(psutil.NoSuchProcess):
            sockets = process.net_connections("inet")
            found |= {tuple(each.laddr) for each in sockets if each.status == psutil.CONN_LISTEN}
    return found


def alive(process: psutil.Process) -> bool:
    """Tell whether a process has not ended; its parent may not have asked for its status yet."""
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
