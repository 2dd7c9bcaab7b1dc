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
    def settings(starter):
        project = ROOT / "starters" / starter / "{{ cookiecutter.repo_name }}"
        module = "src/{{ cookiecutter.python_package }}/airflow_settings.py"
        checked = runpy.run_path(str(project / module))
        text = (project / "conf/airflow/airflow.yml").read_text()
        created = yaml.safe_load(re.sub(r"\{\{.*?\}\}", "x", text))["default"]
        assert set(created) <= {*checked["DAG"], *checked["TASK"]}
        return [*checked["DAG"], *checked["TASK"]]

    def documented(page):
        return re.findall(r"^\| `(\w+)` \|", (ROOT / "docs" / page).read_text(), re.MULTILINE)

    everywhere = settings("spaceflights-astro")
    assert documented("change.md")[: len(everywhere) + 2] == [*everywhere, "tasks", "params"]
    of_pods = [key for key in settings("spaceflights-k8s") if key not in everywhere]
    found = documented("kubernetes.md")
    start = found.index(of_pods[0])
    assert found[start : start + len(of_pods)] == of_pods
