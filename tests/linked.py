"""The engines of projects and what writes their DAGs, importable as in real projects.

The folders in starters/ have placeholders as names, which Python cannot import.
"""

import sys
import tempfile
from pathlib import Path

from compose import ROOT

FOLDER = tempfile.TemporaryDirectory(prefix="linked-")
STARTERS = {"flights": "spaceflights-astro", "freight": "spaceflights-k8s"}
PACKAGE = "{{ cookiecutter.python_package }}"


def project(name: str) -> Path:
    """The template of a linked project."""
    return ROOT / "starters" / STARTERS[name] / "{{ cookiecutter.repo_name }}"


for name in STARTERS:
    Path(FOLDER.name, name).symlink_to(project(name) / "src" / PACKAGE)
    Path(FOLDER.name, f"{name}_airflow").symlink_to(project(name) / "dags" / f"{PACKAGE}_airflow")
sys.path.append(FOLDER.name)
