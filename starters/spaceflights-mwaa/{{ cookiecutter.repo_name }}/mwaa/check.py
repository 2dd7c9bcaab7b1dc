"""Find out whether MWAA can install the bundle's requirements: `make check`.

The environment of MWAA only logs a failed installation, after many minutes, and goes on without.
"""

import argparse
import email
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from mwaa.bucket import PROJECT
from mwaa.bundle import BUNDLE, PLUGINS_ON_MWAA, require_fresh_bundle

CONSTRAINTS = PROJECT / "mwaa" / "constraints"
PYTHON = "3.12"  # of MWAA's images for Airflow 3
PLATFORM = "x86_64-manylinux_2_34"  # Amazon Linux 2023


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--airflow", default="3.3.1", help="the version that MWAA runs")
    version = parser.parse_args().airflow
    constraints = CONSTRAINTS / f"{version}.txt"
    if not constraints.is_file():
        known = ", ".join(sorted(path.stem for path in CONSTRAINTS.glob("*.txt")))
        sys.exit(f"mwaa/constraints/ has no list for Airflow {version}, only for {known}.")
    require_fresh_bundle()
    with tempfile.TemporaryDirectory() as folder:
        with zipfile.ZipFile(BUNDLE / "plugins.zip") as plugins:
            plugins.extractall(folder)
        [wheel] = Path(folder).glob("*.whl")
        if found := conflicts(wheel, constraints):
            lines = "\n".join(
                f"  {requirement}: MWAA has {name} {pin}" for requirement, name, pin in found
            )
            sys.exit(f"MWAA for Airflow {version} cannot install requirements.txt:\n{lines}")
        print(*resolve(folder, constraints, version), sep="\n")
    print(f"MWAA for Airflow {version} can install this.")


def conflicts(wheel: Path, constraints: Path) -> list[tuple[Requirement, str, str]]:
    """Find what a wheel demands against a list of pins: the demand, the package and its pin."""
    pins = {}
    for line in constraints.read_text().splitlines():
        name, _, pin = line.partition(";")[0].partition("==")
        pins[canonicalize_name(name.strip())] = pin.strip()
    with zipfile.ZipFile(wheel) as archive:
        [metadata] = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        demands = email.message_from_bytes(archive.read(metadata)).get_all("Requires-Dist", [])
    found = []
    for demand in map(Requirement, demands):
        name = canonicalize_name(demand.name)
        applies = not demand.marker or demand.marker.evaluate({"python_version": PYTHON})
        if name in pins and applies and not demand.specifier.contains(pins[name], True):
            found.append((demand, name, pins[name]))
    return found


def resolve(plugins: str, constraints: Path, version: str) -> list[str]:
    """Resolve the bundle's requirements as MWAA does, with the wheel of a folder of plugins.

    Returns:
        What would be installed besides the project, as NAME==VERSION.

    Raises:
        SystemExit: with the resolver's explanation.
    """
    text = (BUNDLE / "requirements.txt").read_text().replace(PLUGINS_ON_MWAA, plugins)
    command = [sys.executable, "-m", "uv", "pip", "compile", "--quiet", "--no-header"]
    command += ["--no-annotate", "--constraint", str(constraints), "--python-version", PYTHON]
    command += ["--python-platform", PLATFORM, "-"]
    resolved = subprocess.run(command, input=text, cwd=plugins, capture_output=True, text=True)
    if resolved.returncode:
        sys.exit(f"requirements.txt does not resolve for Airflow {version}.\n{resolved.stderr}")
    return [line for line in resolved.stdout.splitlines() if "==" in line]


if __name__ == "__main__":
    main()
