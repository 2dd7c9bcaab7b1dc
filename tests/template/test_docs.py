"""The documentation builds, and names what exists."""

import json
import re
import sys

import pytest
from jsonschema import Draft7Validator
from omegaconf import OmegaConf

from compose import STARTERS
from tests.conftest import ROOT, files, run

PAGES = sorted((ROOT / "docs").glob("*.md"))


@pytest.mark.slow
def test_documentation_builds_without_a_warning(tmp_path):
    run(sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", tmp_path, cwd=ROOT)
    pages = {path.stem for path in tmp_path.glob("*.html")}
    assert {"create", "start", "adopt", "run", "change", "deploy", "update", "speed"} <= pages


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_page_ends_with_what_can_go_wrong(page):
    before, last = page.read_text().rsplit("\n## ", 1)
    assert last.startswith("What can go wrong\n") and "\n|---|---|" in last


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_to_other_sites_are_secure_and_whole(page):
    found = re.findall(r"\]\((?!\w+\.md|pictures/|#)([^)]*)|<(http[^>]*)", page.read_text())
    for link in map("".join, found):
        assert re.fullmatch(r"https://[\w.-]+\.\w+(/[\w./%#-]*)?|http://localhost:8080\S*", link)


@pytest.mark.parametrize("platform", ["mwaa", "k8s"])
def test_page_on_updates_names_every_file_that_differs_between_platforms(platform):
    starters = [ROOT / "starters" / f"spaceflights-{name}" for name in ("astro", platform)]
    here, there = (files(starter / "{{ cookiecutter.repo_name }}") for starter in starters)
    differ = {name for name in here | there if here.get(name) != there.get(name)}
    page = (ROOT / "docs" / "update.md").read_text()
    named = set(re.findall(r"`([^`]+)`", "".join(re.findall(r"(?m)^\| (?!the rest).*", page))))
    folders = tuple(name for name in named if name.endswith("/"))
    known = {name for name in differ if {name, name.rpartition("/")[2]} & named}
    assert {name for name in differ - known if not name.startswith(folders)} == set()


def test_readme_names_every_starter():
    text = (ROOT / "README.md").read_text()
    assert [name for name in STARTERS if f"| `{name}` |" not in text] == []


@pytest.mark.parametrize("starter", STARTERS)
def test_new_projects_airflow_yml_is_valid_under_the_schema_that_editors_read(starter):
    conf = ROOT / "starters" / starter / "{{ cookiecutter.repo_name }}" / "conf" / "airflow"
    text = re.sub(r"\{\{.*?\}\}", "x", (conf / "airflow.yml").read_text())
    assert text.splitlines()[0] == "# yaml-language-server: $schema=schema.json"
    validator = Draft7Validator(json.loads((conf / "schema.json").read_text()))
    assert list(validator.iter_errors(OmegaConf.to_container(OmegaConf.create(text)))) == []
    commented = re.sub(r"(?m)^(  )# (?=( *)\w[\w.:]*:)", r"\1", text)
    assert list(validator.iter_errors(OmegaConf.to_container(OmegaConf.create(commented)))) == []
    assert list(validator.iter_errors({"default": {"retires": 2}})) != []
