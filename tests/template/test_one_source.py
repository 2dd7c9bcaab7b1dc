"""compose.py writes what is needed in several places, and each file has one owner."""

import shutil
import sys
from textwrap import indent

import pytest
import yaml

import compose
from tests.conftest import ROOT, edit

LISTS = compose.lists()
FORM = """params:
  model_options.test_size:
    description: Share of the rows for testing
    minimum: 0.05
    maximum: 0.5
"""


@pytest.fixture
def copy(tmp_path):
    """A copy of what compose.py reads and writes."""
    for name in ("docs", "hooks", "layers"):
        shutil.copytree(ROOT / name, tmp_path / name)
    for name in LISTS:
        shutil.copy(ROOT / name, tmp_path / name)
    return tmp_path


@pytest.fixture
def compose_py(copy, monkeypatch, capsys):
    """A function that runs compose.py in the copy, and returns its status and output."""

    def run_compose(*options):
        monkeypatch.setattr(compose, "ROOT", copy)
        monkeypatch.setattr(sys, "argv", ["compose.py", *options])
        return compose.main(), *capsys.readouterr()

    return run_compose


@pytest.mark.parametrize("file", LISTS)
def test_list_is_as_composed(file):
    assert (ROOT / file).read_text() == LISTS[file], "run `python compose.py`"


STALE = [
    ("README.md", "| `spaceflights-k8s` |", "| `spaceflights-kubernetes` |"),
    ("cookiecutter.json", "on Kubernetes", "in pods"),
    ("copier.yml", "choices: [astro-airflow-iris, ", "choices: ["),
    ("copier.yml", "[a-z][a-z0-9_]*[a-z0-9]", "[a-z0-9_]+"),
    ("docs/change.md", "| `retries` |", "| `retires` |"),
    ("docs/kubernetes.md", "| `cpu` |", "| `cpus` |"),
    ("hooks/pre_gen_project.py", "pandas", ""),
    ("layers/prompts.yml", "regex_validator: ", "regex_validator: .*"),
]


def test_check_names_stale_lists_and_compose_writes_them(copy, compose_py):
    for stale in STALE:
        edit(copy / stale[0], *stale[1:])
    status, stdout, stderr = compose_py("--check")
    found = [name for name in stdout.splitlines() if not name.startswith("starters/")]
    assert status == 1 and found == [name for name in LISTS if name in {file for file, *_ in STALE}]
    assert stderr == "Out of date: run `python compose.py`\n"
    assert compose_py()[0] == 0
    assert {name: (copy / name).read_text() for name in LISTS} == LISTS
    assert compose_py("--check") == (0, "", "")


def test_new_refused_name_reaches_every_hook(copy, compose_py):
    edit(copy / "layers" / "refused_names.txt", "zstandard\n", "zstandard\nzz\n")
    compose_py()
    hooks = [copy / "hooks", *(copy / "starters" / name / "hooks" for name in compose.STARTERS)]
    for folder in hooks:
        assert " zz\n" in (folder / "pre_gen_project.py").read_text()


def test_file_in_two_layers_is_refused_unless_it_is_joined_or_replaces(copy, compose_py):
    plugin = copy / "layers" / "platforms" / "astro" / "plugins" / "preload.py"
    plugin.parent.mkdir()
    plugin.write_text("")
    with pytest.raises(SystemExit) as refused:
        compose_py()
    assert refused.value.code == (
        "layers/platforms/astro/plugins/preload.py: a lower layer has this file; "
        "choose another name"
    )


def test_settings_for_kubernetes_include_those_of_the_base():
    layers = ROOT / "layers"
    base = (layers / "base/conf/airflow/airflow.yml").read_text().splitlines()
    kubernetes = (layers / "platforms/k8s/conf/airflow/airflow.yml").read_text().splitlines()
    common = [line for line in base if "group_by: " not in line]
    assert [line for line in kubernetes if line in common][: len(common)] == common
    default = yaml.safe_load("\n".join(kubernetes))["default"]
    assert default["group_by"] == "pipeline" and default["runner"] == "pod"


@pytest.mark.parametrize("starter", compose.STARTERS)
def test_trigger_form_has_a_field_in_an_example_and_shows_one_in_an_empty_starter(starter):
    files = compose.compose(*compose.STARTERS[starter])
    text = files[f"{compose.PROJECT}/conf/airflow/airflow.yml"].decode()
    empty = compose.STARTERS[starter][0] == "empty"
    assert (f"\n{indent(FORM, '  ')}\n" in text) is not empty
    assert (f"\n{indent(FORM, '  # ')}\n" in text) is empty


def test_deployment_is_documented_for_every_starter():
    text = (ROOT / "docs" / "deploy.md").read_text()
    assert [name for name in compose.STARTERS if f"`{name}`" not in text] == []
