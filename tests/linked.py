"""The engines of projects and what writes their DAGs, importable as those of real projects.

The folders of starters/ have placeholders for names, under which Python finds no package.
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
