"""The engine of a project and what writes its DAG, importable as those of a project `flights`.

The folders of starters/ have placeholders for names, under which Python finds no package.
"""

import sys
import tempfile
from pathlib import Path

from compose import ROOT

LINKS = tempfile.TemporaryDirectory(prefix="flights-")
PROJECT = ROOT / "starters" / "spaceflights-astro" / "{{ cookiecutter.repo_name }}"
PACKAGE = "{{ cookiecutter.python_package }}"

Path(LINKS.name, "flights").symlink_to(PROJECT / "src" / PACKAGE)
Path(LINKS.name, "flights_airflow").symlink_to(PROJECT / "dags" / f"{PACKAGE}_airflow")
sys.path.append(LINKS.name)
