"""Tell which small mistakes the tests notice: `make mutants`.

Each mutant in mutants.yml is tried in a copy of the repository: first with the tests that are most
likely to notice it, then with the fast tier. With --slow, survivors meet the slow tier as well.
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import Queue

import yaml

ROOT = Path(__file__).resolve().parents[1]
MUTANTS = yaml.safe_load(Path(__file__).with_name("mutants.yml").read_text(encoding="utf-8"))


def copies(folder: Path, count: int) -> Queue[Path]:
    """Copy the repository's files as they are now."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    free: Queue[Path] = Queue()
    for number in range(count):
        copy = folder / str(number)
        for name in filter(None, listed.split("\0")):
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, copy / name)
        subprocess.run(["git", "init", "--quiet"], cwd=copy, check=True)
        subprocess.run(["git", "add", "--force", "."], cwd=copy, check=True)
        free.put(copy)
    return free


def passes(copy: Path, *options: str) -> bool:
    """Return whether the tests pass."""
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *options]
    return subprocess.run(command, cwd=copy, capture_output=True).returncode == 0


def noticed_by(mutant: dict[str, str], free: Queue[Path], slow: bool) -> str:
    """Return which tests notice a mutant: fast, slow or none.

    Raises:
        ValueError: the file does not have the text to replace exactly once.
    """
    copy = free.get()
    path = copy / mutant["file"]
    text = path.read_text(encoding="utf-8")
    try:
        if text.count(mutant["old"]) != 1:
            raise ValueError(f"{mutant['file']} has {mutant['old']!r} {text.count(mutant['old'])}x")
        path.write_text(text.replace(mutant["old"], mutant["new"]), encoding="utf-8")
        compose = [sys.executable, "compose.py"]
        if subprocess.run(compose, cwd=copy, capture_output=True).returncode:
            return "fast"
        fast = ("-m", "not slow")
        if not passes(copy, *fast, *mutant["first"].split()) or not passes(copy, *fast):
            return "fast"
        if slow and not passes(copy, "-m", "slow"):
            return "slow"
        return "none"
    finally:
        path.write_text(text, encoding="utf-8")
        subprocess.run([sys.executable, "compose.py"], cwd=copy, capture_output=True)
        free.put(copy)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--slow", action="store_true", help="also run the slow tests")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("words", nargs="*", help="only mutants of files with one of these words")
    given = parser.parse_args()
    chosen = [
        mutant for mutant in MUTANTS if any(word in mutant["file"] for word in given.words or [""])
    ]
    counts = {"fast": 0, "slow": 0, "none": 0}
    with tempfile.TemporaryDirectory() as folder:
        free = copies(Path(folder), given.processes)
        with ThreadPoolExecutor(given.processes) as threads:
            tried = [threads.submit(noticed_by, each, free, given.slow) for each in chosen]
            print("| noticed by | file | mistake |\n|---|---|---|")
            for mutant, found in zip(chosen, tried, strict=True):
                by = found.result()
                counts[by] += 1
                name = Path(mutant["file"]).name
                old, new = (mutant[key].strip().replace("|", r"\|") for key in ("old", "new"))
                print(f"| {by} | {name} | `{old}` is `{new}` |", flush=True)
    print(f"\nOf {len(chosen)}, the fast tier notices {counts['fast'] / len(chosen):.0%}", end="")
    print(f", all tests {1 - counts['none'] / len(chosen):.0%}" if given.slow else "")


if __name__ == "__main__":
    main()
