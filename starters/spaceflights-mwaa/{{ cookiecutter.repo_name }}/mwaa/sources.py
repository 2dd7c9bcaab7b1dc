"""What dist/mwaa/ is made of, and whether it still is: with Python's own modules only."""

import hashlib
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parents[1]
BUNDLE = PROJECT / "dist" / "mwaa"
SOURCES = ["README.md", "conf", "dags", "mwaa/startup.sh", "plugins", "pyproject.toml"]
SOURCES += ["requirements.txt", "src"]
# Hidden files and what Python writes, in the name of a file below a folder.
IGNORED = re.compile(r"(^|/)(\.(?!airflowignore$)|__pycache__/|[^/]+\.egg-info/)")


def files(folder: Path) -> Iterator[tuple[str, Path]]:
    """Find the files below a folder with their names in it, without those to ignore."""
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_file() and not IGNORED.search(name):
            yield name, path


def fingerprint() -> str:
    """Hash everything that the bundle is made of, as hexadecimal digits."""
    digest = hashlib.sha256()
    for source in SOURCES:
        path = PROJECT / source
        alone = [("", path)] if path.is_file() else []  # a project may have no README.md
        for name, file in files(path) if path.is_dir() else alone:
            if not f"{source}/{name}".startswith("conf/local/"):
                digest.update(f"{source}/{name} {sha256(file)}\n".encode())
    return digest.hexdigest()


def require_fresh_bundle() -> dict[str, Any]:
    """Read dist/mwaa/bundle.json; stop unless the bundle is made of the project as it is now."""
    manifest = BUNDLE / "bundle.json"
    if not manifest.is_file():
        sys.exit("There is no bundle in dist/mwaa/: run `make bundle`.")
    bundle: dict[str, Any] = json.loads(manifest.read_text())
    if bundle["sources"] != fingerprint():
        sys.exit("The project has changed since dist/mwaa/ was built: run `make bundle`.")
    return bundle


def sha256(path: Path) -> str:
    """Hash a file's content, in hexadecimal digits."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def size(count: float) -> str:
    """Write a number of bytes for people, in units of 1000."""
    for unit in ("B", "kB", "MB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} GB"
