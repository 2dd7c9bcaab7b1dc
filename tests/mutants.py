"""Tell which small mistakes the tests notice: `make mutants`.

Each mutant in mutants.yml is tried in a copy of the repository: first with the tests that are most
likely to notice it, then with the rest of the fast tier, until one fails. With --slow, survivors
meet the slow tier in the same way.
"""

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from queue import Queue

import yaml

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
from tests.forks import Forks  # noqa: E402

MUTANTS = yaml.safe_load(Path(__file__).with_name("mutants.yml").read_text(encoding="utf-8"))
TIERS = {"fast": "not slow", "slow": "slow"}
# What takes most of the time until the first test.
SLOW_IMPORTS = ["airflow.dag_processing.dagbag", "boto3", "copier._cli", "hypothesis", "pytest"]
SLOW_IMPORTS += ["kedro_airflow.plugin", "kedro_datasets.pandas", "matplotlib.figure"]


class Copy:
    """A copy of the repository's files as they are now, in which tests run."""

    def __init__(self, folder: Path, forks: Forks) -> None:
        self.folder, self.forks = folder, forks
        command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
        listed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
        for name in filter(None, listed.stdout.split("\0")):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
        subprocess.run(["git", "init", "--quiet"], cwd=folder, check=True)
        subprocess.run(["git", "add", "--force", "."], cwd=folder, check=True)

    def compose(self) -> bool:
        """Write starters/, and return whether that worked."""
        command = [sys.executable, "compose.py"]
        return not subprocess.run(command, cwd=self.folder, capture_output=True).returncode

    @contextmanager
    def mistaken(self, file: str, old: str, new: str) -> Iterator[bool]:
        """Make a mistake, and correct it when the block ends.

        Yields:
            Whether starters/ could be written with it.

        Raises:
            ValueError: the file does not have the text to replace exactly once.
        """
        path = self.folder / file
        text = path.read_text(encoding="utf-8")
        if text.count(old) != 1:
            raise ValueError(f"{file} has {old!r} {text.count(old)} times")
        path.write_text(text.replace(old, new), encoding="utf-8")
        try:
            yield self.compose()
        finally:
            path.write_text(text, encoding="utf-8")
            self.compose()

    def failing(self, *options: str) -> str | None:
        """Run tests until one fails, and return its id.

        Raises:
            RuntimeError: pytest did not work.
        """
        command = ["pytest", "-x", "-q", "-p", "no:cacheprovider", *options]
        done = self.forks.run(*command, cwd=self.folder, check=False)
        if done.returncode in (0, 5):  # 5 if there are no such tests
            return None
        if found := re.search(r"^(?:FAILED|ERROR) (tests/.+?)(?: - |$)", done.stdout, re.MULTILINE):
            return found[1]
        raise RuntimeError(f"{' '.join(command)}\n{done.stdout}\n{done.stderr}")


def noticed_by(mutant: dict[str, str], free: "Queue[Copy]", tiers: list[str]) -> tuple[str, str]:
    """Return the tier and the name of the test that notices a mutant, or two dashes.

    Raises:
        RuntimeError: the test also fails without the mutant.
    """
    first = mutant["first"].split()
    copy = free.get()
    try:
        with copy.mistaken(mutant["file"], mutant["old"], mutant["new"]) as composed:
            if not composed:
                return "fast", "compose.py"
            for tier in tiers:
                mark, rest = f"-m{TIERS[tier]}", [f"--deselect={path}" for path in first]
                if test := copy.failing(mark, *first) or copy.failing(mark, *rest):
                    break
            else:
                return "-", "-"
        if copy.failing(test):
            raise RuntimeError(f"{test} fails without a mistake, too")
        return tier, test.partition("::")[2].partition("[")[0] or test
    finally:
        free.put(copy)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--slow", action="store_true", help="also run the slow tests")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("words", nargs="*", help="only mutants of files with one of these words")
    given = parser.parse_args()
    tiers = ["fast", "slow"] if given.slow else ["fast"]
    chosen = [
        mutant for mutant in MUTANTS if any(word in mutant["file"] for word in given.words or [""])
    ]
    counts = dict.fromkeys([*tiers, "-"], 0)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        free: Queue[Copy] = Queue()
        for number in range(given.processes):
            forks = stack.enter_context(Forks(*SLOW_IMPORTS))
            free.put(Copy(folder / str(number), forks))
        threads = stack.enter_context(ThreadPoolExecutor(given.processes))
        tried = [threads.submit(noticed_by, each, free, tiers) for each in chosen]
        print("| noticed by | test | file | mistake |\n|---|---|---|---|")
        for mutant, found in zip(chosen, tried, strict=True):
            tier, test = found.result()
            counts[tier] += 1
            name = Path(mutant["file"]).name
            old, new = (mutant[key].strip().replace("|", r"\|") for key in ("old", "new"))
            print(f"| {tier} | {test} | {name} | `{old}` is `{new}` |", flush=True)
    shares = {tier: counts[tier] / len(chosen) for tier in counts}
    print(f"\nOf {len(chosen)}, the fast tier notices {shares['fast']:.0%}", end="")
    print(f", all tests {1 - shares['-']:.0%}" if given.slow else "")


if __name__ == "__main__":
    main()
