"""The documentation builds, and names what there is."""

import re
import runpy
import sys

import yaml

from compose import STARTERS
from tests.conftest import ROOT, run


def test_documentation_builds_without_a_warning(tmp_path):
    run(sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", tmp_path, cwd=ROOT)
    pages = {path.parent.name for path in tmp_path.glob("*/index.html")}
    assert {"create", "run", "change", "deploy", "update", "speed"} <= pages


def test_readme_names_every_starter():
    text = (ROOT / "README.md").read_text()
    assert [name for name in STARTERS if f"| `{name}` |" not in text] == []


def test_every_setting_of_airflow_yml_is_documented():
    source = "layers/base/src/{{ cookiecutter.python_package }}/airflow_settings.py"
    settings = runpy.run_path(str(ROOT / source))
    documented = re.findall(r"^\| `(\w+)` \|", (ROOT / "docs/change.md").read_text(), re.MULTILINE)
    keys = [*settings["DAG"], *settings["TASK"], "tasks", "params"]
    assert documented[: len(keys)] == keys
    created = yaml.safe_load((ROOT / "layers/base/conf/airflow/airflow.yml").read_text())
    assert set(created["default"]) <= set(keys)
