"""Write starters/ from layers/: `python compose.py`, or `--check` to only compare the two.

A starter is an example on a platform on the base. A file that several of these layers have is
their texts joined in that order; nearly every file has one owner.
"""

import shutil
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent
STARTERS = {
    "astro-airflow-iris": ("iris", "astro"),
    "spaceflights-astro": ("spaceflights", "astro"),
    "spaceflights-mwaa": ("spaceflights", "mwaa"),
    "spaceflights-k8s": ("spaceflights", "k8s"),
}
PROJECT = "{{ cookiecutter.repo_name }}"
CACHES = {"__pycache__", ".ruff_cache"}


def compose(example: str, platform: str) -> dict[str, bytes]:
    """Join the layers of one starter.

    Returns:
        The content of each file, under its path in the starter's folder.
    """
    layers = ROOT / "layers"
    files = {name: (layers / name).read_bytes() for name in ("cookiecutter.json", "prompts.yml")}
    for hook in sorted((ROOT / "hooks").glob("*.py")):
        files[f"hooks/{hook.name}"] = hook.read_bytes()
    for layer in ("base", f"examples/{example}", f"platforms/{platform}"):
        for path in sorted((layers / layer).rglob("*")):
            if path.is_file() and not CACHES & set(path.parts):
                name = f"{PROJECT}/{path.relative_to(layers / layer).as_posix()}"
                files[name] = files.get(name, b"") + path.read_bytes()
    return files


def stale(starter: Path, files: dict[str, bytes]) -> list[str]:
    """List the files of ``starter`` that are not as composed: changed, missing or left over."""
    found = {
        path.relative_to(starter).as_posix(): path.read_bytes()
        for path in starter.rglob("*")
        if path.is_file() and not CACHES & set(path.parts)
    }
    return sorted(name for name in files | found if files.get(name) != found.get(name))


def main() -> int:
    """Write the starters, or with ``--check`` only name the stale files and return 1."""
    unknown = sys.argv[1:] not in ([], ["--check"])
    if unknown:
        print("usage: python compose.py [--check]", file=sys.stderr)
        return 2
    changed = 0
    for name, layers in STARTERS.items():
        starter = ROOT / "starters" / name
        files = compose(*layers)
        for file in stale(starter, files):
            print(f"starters/{name}/{file}")
            changed += 1
        if "--check" not in sys.argv:
            shutil.rmtree(starter, ignore_errors=True)
            for file, content in files.items():
                path = starter / file
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)
    if changed and "--check" in sys.argv:
        print(
            "starters/ is not what layers/ and hooks/ give: run `python compose.py`",
            file=sys.stderr,
        )
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
