"""Add to layers/refused_names.txt what the starters' environments contain.

A package of the same name would be imported in place of a module, or installed in place of a
distribution, and the project's command would replace one of theirs: `airflow`, for example. Each
Python has names of its own, so run this with the oldest and with the newest.
"""

import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

from compose import PROJECT, ROOT, STARTERS

NAMES = ROOT / "layers" / "refused_names.txt"
# What a platform has in addition to a project's own requirements.
PLATFORMS = {
    "astro": ["apache-airflow[celery,elasticsearch,openlineage,smtp,standard]"],
    "mwaa": ["apache-airflow[amazon,celery,statsd]", "celery[sqs]", "fluent-logger", "watchtower"],
    "k8s": ["apache-airflow[celery,cncf.kubernetes,fab,git,hashicorp,postgres,redis,statsd]"],
}
# On Windows these are devices, in every folder and with every extension.
DEVICES = ["aux", "con", "nul", "prn"]
DEVICES += [f"{name}{number}" for name in ("com", "lpt") for number in range(10)]
LIST = """
import json, sys
from importlib.metadata import distributions, packages_distributions
names = {*sys.stdlib_module_names, *packages_distributions()}
for each in distributions():
    names.add(each.metadata["Name"])
    names.update(script.name for script in each.entry_points.select(group="console_scripts"))
print(json.dumps(sorted(names)))
"""


def spelled(names: Iterable[str]) -> set[str]:
    """Spell names as the hook compares answers, without those that its rules refuse anyway."""
    spelled = {re.sub("[-_.]+", "_", name).lower() for name in names}
    return {name for name in spelled if re.fullmatch("[a-z][a-z0-9_]*[a-z0-9]", name)}


def installed(python: Path) -> set[str]:
    """List the modules, distributions and commands of the environment of this Python."""
    listed = subprocess.run([python, "-c", LIST], check=True, capture_output=True, text=True)
    return spelled(json.loads(listed.stdout))


def main() -> None:
    """Install each starter with all that its platform has, and add the names."""
    names = {*NAMES.read_text().split(), *DEVICES}
    for starter, (_, platform) in STARTERS.items():
        project = ROOT / "starters" / starter / PROJECT
        files = sorted(project.glob("requirements*.txt"))
        for folder in ("deploy", "plugins"):  # whose scripts import each other by these names
            names |= {path.stem for path in project.glob(f"{folder}/*.py")}
        with tempfile.TemporaryDirectory() as folder:
            create = ["uv", "venv", "--quiet", "--seed", "--python", sys.executable, folder]
            subprocess.run(create, check=True)
            install = ["uv", "pip", "install", "--quiet", "--python", folder]
            install += [option for file in files for option in ("--requirement", file)]
            subprocess.run([*install, *PLATFORMS[platform]], check=True)
            names |= installed(Path(folder, "bin", "python"))
        for file in project.glob("mwaa/constraints/*.txt"):
            pins = re.findall(r"^([\w.-]+)==", file.read_text(), re.MULTILINE)
            names |= spelled(pins)
    NAMES.write_text("".join(f"{name}\n" for name in sorted(names)), newline="\n")


if __name__ == "__main__":
    main()
