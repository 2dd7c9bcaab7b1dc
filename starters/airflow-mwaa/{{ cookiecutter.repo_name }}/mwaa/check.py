"""Find out whether MWAA can install the bundle's requirements: `make check`.

The environment of MWAA only logs a failed installation, after many minutes, and goes on without.
"""

import argparse
import importlib.metadata
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from mwaa.bundle import PLUGINS_ON_MWAA
from mwaa.sources import BUNDLE, PROJECT, require_fresh_bundle

CONSTRAINTS = PROJECT / "mwaa" / "constraints"
PYTHON = "3.12"  # of MWAA's images for Airflow 3
PLATFORM = "x86_64-manylinux_2_34"  # Amazon Linux 2023


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("airflow", help="the version that MWAA runs")
    version = parser.parse_args().airflow
    constraints = CONSTRAINTS / f"{version}.txt"
    if not constraints.is_file():
        known = ", ".join(sorted(path.stem for path in CONSTRAINTS.glob("*.txt")))
        sys.exit(f"mwaa/constraints/ has no list for Airflow {version}, only for {known}.")
    require_fresh_bundle()
    with tempfile.TemporaryDirectory() as plugins:
        shutil.unpack_archive(BUNDLE / "plugins.zip", plugins)
        [wheel] = Path(plugins).glob("*.whl")
        found = conflicts(wheel, constraints)
        if lines := [f"\n  {demand}: MWAA has {name} {pin}" for demand, name, pin in found]:
            sys.exit(f"MWAA for Airflow {version} cannot install requirements.txt:{''.join(lines)}")
        text = (BUNDLE / "requirements.txt").read_text().replace(PLUGINS_ON_MWAA, plugins)
        command = [sys.executable, "-m", "uv", "pip", "compile", "--quiet", "--no-header"]
        command += ["--no-annotate", "--constraint", str(constraints), "--python-version", PYTHON]
        command += ["--python-platform", PLATFORM, "-"]
        resolved = subprocess.run(command, input=text, cwd=plugins, capture_output=True, text=True)
    if resolved.returncode:
        sys.exit(f"requirements.txt does not resolve for Airflow {version}.\n{resolved.stderr}")
    print(*(line for line in resolved.stdout.splitlines() if "==" in line), sep="\n")
    print(f"MWAA for Airflow {version} can install this.")


def conflicts(wheel: Path, constraints: Path) -> Iterator[tuple[str, str, str]]:
    """Find what a wheel demands against a list of pins: the demand, the package and its pin."""
    listed = re.findall(r"^([^#\s]+)==([^;\s]+)", constraints.read_text(), re.MULTILINE)
    pins = {canonicalize_name(name): pin for name, pin in listed}
    [project] = importlib.metadata.distributions(path=[str(wheel)])
    for demand in map(Requirement, project.requires or []):
        name = canonicalize_name(demand.name)
        applies = not demand.marker or demand.marker.evaluate({"python_version": PYTHON})
        if name in pins and applies and not demand.specifier.contains(pins[name], True):
            yield str(demand), name, pins[name]


if __name__ == "__main__":
    main()
