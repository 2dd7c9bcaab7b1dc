"""List what MWAA would install, or say why it cannot: `make packages`.

The environment of MWAA only logs a failed installation, after many minutes, and goes on without.
"""

import argparse
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from mwaa.sources import PROJECT

CONSTRAINTS = PROJECT / "mwaa" / "constraints"
PYTHON = "3.12"  # of MWAA's images for Airflow 3
PLATFORM = "x86_64-manylinux_2_34"  # Amazon Linux 2023


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("airflow", help="the version that MWAA runs")
    print(resolve(PROJECT, parser.parse_args().airflow), end="")


def newest() -> str:
    """Return the newest version of Airflow of which MWAA's list is here."""
    listed = [path.stem for path in CONSTRAINTS.glob("*.txt")]
    return max(listed, key=lambda version: [int(part) for part in version.split(".")])


def resolve(project: Path, version: str) -> str:
    """Resolve requirements.txt under the list of MWAA for a version of Airflow.

    Raises:
        SystemExit: says why MWAA cannot install it.
    """
    constraints = CONSTRAINTS / f"{version}.txt"
    if not constraints.is_file():
        known = ", ".join(sorted(path.stem for path in CONSTRAINTS.glob("*.txt")))
        sys.exit(f"mwaa/constraints/ has no list for Airflow {version}, only for {known}.")
    requirements = project / "requirements.txt"
    if found := list(conflicts(requirements, constraints)):
        lines = "".join(f"\n  {demand}: MWAA has {name} {pin}" for demand, name, pin in found)
        sys.exit(f"MWAA for Airflow {version} cannot install requirements.txt:{lines}")
    command = [sys.executable, "-m", "uv", "pip", "compile", "--quiet", "--no-header"]
    command += ["--no-annotate", "--constraint", str(constraints), "--python-version", PYTHON]
    command += ["--python-platform", PLATFORM, str(requirements)]
    resolved = subprocess.run(command, cwd=project, capture_output=True, text=True)
    if resolved.returncode:
        sys.exit(f"requirements.txt does not resolve for Airflow {version}.\n{resolved.stderr}")
    return resolved.stdout


def conflicts(requirements: Path, constraints: Path) -> Iterator[tuple[str, str, str]]:
    """Find what is required against a list of pins: the demand, the package and its pin."""
    listed = re.findall(r"^([^#\s]+)==([^;\s]+)", constraints.read_text(), re.MULTILINE)
    pins = {canonicalize_name(name): pin for name, pin in listed}
    for line in requirements.read_text().splitlines():
        with suppress(InvalidRequirement):  # a comment, an option or a URL
            demand = Requirement(line.partition(" #")[0])
            name = canonicalize_name(demand.name)
            applies = not demand.marker or demand.marker.evaluate({"python_version": PYTHON})
            if name in pins and applies and not demand.specifier.contains(pins[name], True):
                yield str(demand), name, pins[name]


if __name__ == "__main__":
    main()
