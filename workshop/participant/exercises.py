"""Read the exercises, and do them: `make checkpoint N=4` does those before the fourth.

The exercises are the only source. Of their blocks,

- `bash` is run in one shell, so what it exports and the folder it changes to last;
- `diff` is a change of the project;
- `text` is what the block before it prints.

The title of a `bash` block says what is special about it: it is a server for "another terminal", or
needs "Airflow" or "S3", or only a "check" of what was done, or it "fails".
"""

import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from check import taken

ROOM = Path(__file__).resolve().parent
PROJECT = ROOM / "space-flights"
BLOCK = re.compile(r'^```(bash|diff|text)(?: title="([^"\n]+)")?\n(.*?)^```$', re.M | re.S)
DONE = "-- done:"


class Block(NamedTuple):
    language: str
    title: str | None
    text: str


def blocks(number: int) -> Iterator[Block]:
    """Read the blocks of an exercise."""
    [page] = (ROOM / "exercises").glob(f"{number}-*.md")
    for language, title, text in BLOCK.findall(page.read_text(encoding="utf-8")):
        yield Block(language, title or None, text)


class Shell:
    """A terminal in which all blocks run.

    Args:
        command: what starts it, if not bash itself does.
    """

    def __init__(self, *command: str) -> None:
        self.process = subprocess.Popen(
            [*command, "bash", "-e"],
            cwd=ROOM,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, block: Block) -> tuple[bool, str]:
        """Do a block; return whether all went well, and what it printed."""
        assert self.process.stdin and self.process.stdout
        text = block.text
        if block.language == "diff":
            text = f'git -C "$PROJECT" apply <<"END OF DIFF"\n{text}END OF DIFF\n'
        with tempfile.NamedTemporaryFile("w", suffix=".sh", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            # If a command fails, this shell ends, unless the block has to fail.
            fails = "|| failed=1" if block.title and block.title.startswith("fails") else ""
            self.process.stdin.write(
                f"failed=0; . {file.name} < /dev/null {fails}\necho; echo {DONE} $failed\n"
            )
            self.process.stdin.flush()
            printed = []
            for line in self.process.stdout:
                if line.startswith(DONE):
                    return line.split()[-1] == "0", "".join(printed)
                printed.append(line)
        return False, "".join(printed)


def checkpoint(number: int) -> None:
    """Create the project anew with the exercises before this one done, and keep the old one."""
    if taken(8080):
        sys.exit("Airflow runs: stop it first, with Ctrl-C in its terminal.")
    kept = None
    if PROJECT.exists():
        kept = PROJECT.rename(PROJECT.with_name(time.strftime(f"{PROJECT.name}-%H%M%S")))
        print(f"Your project is now in {kept.name}/.")
    shell = Shell()
    servers = []
    for exercise in range(1, number):
        print(f"Exercise {exercise}", flush=True)
        for block in blocks(exercise):
            if block.title in ("another terminal", "S3"):
                servers.append(block.text)
            elif block.language != "text" and block.title is None:
                well, printed = shell.run(block)
                if not well:
                    sys.exit(f"{printed}\nExercise {exercise} failed at:\n{block.text}")
    if kept and (kept / ".airflow").exists():
        shutil.rmtree(PROJECT / ".airflow", ignore_errors=True)
        (kept / ".airflow").rename(PROJECT / ".airflow")
    if servers:
        print("\nWhat this exercise needs, each in a terminal of its own, in this folder:\n")
        print("\n".join(servers))
    print(f"Begin exercise {number}: . ./activate && cd {PROJECT.name}")


if __name__ == "__main__":
    if len(sys.argv) != 2 or sys.argv[1] not in list("2345678"):
        sys.exit("Which exercise do you want to begin? From 2 to 8, like: make checkpoint N=4")
    checkpoint(int(sys.argv[1]))
