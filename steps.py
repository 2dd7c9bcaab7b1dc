"""Show what is being done, and for how long: `python steps.py TITLE COMMAND...`.

In a terminal the seconds count up; elsewhere, a step prints a line when it starts and when it ends.
The standard library is enough, as make runs this before anything is installed.
"""

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event, Thread

TERMINAL = sys.stdout.isatty()
CLEAR = "\r\033[K" if TERMINAL else ""


def say(line: str) -> None:
    """Print a line, above that of the running step."""
    print(f"{CLEAR}{line}\n", end="", flush=True)  # at once, or the step's line gets between


@contextmanager
def step(title: str) -> Iterator[None]:
    """Show the title, and how long the block has been running."""
    started, ended = time.monotonic(), Event()

    def line() -> str:
        return f"{title:<44}{time.monotonic() - started:6.1f} s"

    def count() -> None:
        while not ended.wait(0.1):
            print(f"{CLEAR}{line()}", end="", flush=True)

    counter = Thread(target=count, daemon=True)
    if TERMINAL:
        counter.start()
    else:
        say(f"{title} ...")
    try:
        yield
    finally:
        ended.set()
        if TERMINAL:
            counter.join()
        say(line())


def run(title: str, *command: object, **options: object) -> str:
    """Run a command as a step; if it fails, show what it printed, and end with its status.

    Returns:
        What it printed.
    """
    options |= {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    try:
        with step(title):
            words = [str(word) for word in command]
            return subprocess.run(words, check=True, **options).stdout
    except subprocess.CalledProcessError as error:
        print(error.stdout, file=sys.stderr)
        sys.exit(error.returncode)


if __name__ == "__main__":
    run(*sys.argv[1:])
