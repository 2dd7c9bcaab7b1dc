"""starters/ is composed from layers/ and hooks/."""

import json
from collections import defaultdict

import pytest
import yaml

import compose
from tests.conftest import ROOT, run


def test_starters_are_composed(starter):
    expected = compose.compose(*compose.STARTERS[starter])
    assert compose.stale(ROOT / "starters" / starter, expected) == []


@pytest.mark.parametrize("change", ["edit", "delete", "add"])
def test_check_names_a_stale_file(change, tmp_path):
    layers = compose.STARTERS["astro-airflow-iris"]
    for name, content in compose.compose(*layers).items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    stale = tmp_path / ("new.txt" if change == "add" else "prompts.yml")
    stale.unlink(missing_ok=True)
    if change != "delete":
        stale.write_text("other")
    assert compose.stale(tmp_path, compose.compose(*layers)) == [stale.name]


def test_git_tracks_every_composed_file():
    tracked = set(run("git", "ls-files", "-z", cwd=ROOT).stdout.split("\0"))
    composed = {
        f"starters/{starter}/{name}"
        for starter, layers in compose.STARTERS.items()
        for name in compose.compose(*layers)
    }
    sources = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "layers").rglob("*")
        if path.is_file() and not compose.CACHES & set(path.parts)
    }
    assert composed | sources <= tracked


def test_no_two_files_in_layers_are_the_same():
    places = defaultdict(list)
    for path in sorted((ROOT / "layers").rglob("*")):
        if path.is_file() and not compose.CACHES & set(path.parts) and path.stat().st_size:
            places[path.read_bytes()].append(path)
    assert [paths for paths in places.values() if len(paths) > 1] == []


def test_text_files_have_unix_line_endings():
    text = [path for path in (ROOT / "layers").rglob("*") if path.suffix in {".py", ".yml", ".md"}]
    assert text and [path for path in text if b"\r" in path.read_bytes()] == []


def test_every_generator_offers_the_same_starters():
    cookiecutter = json.loads((ROOT / "cookiecutter.json").read_text())["templates"]
    copier = yaml.safe_load((ROOT / "copier.yml").read_text())["starter"]["choices"]
    assert set(cookiecutter) == set(copier) == set(compose.STARTERS)
    assert all((ROOT / entry["path"]).is_dir() for entry in cookiecutter.values())
