"""`kedro airflow-init` in this process, and projects for it."""

import importlib.util
import sys

import pytest
from click.testing import CliRunner

from tests.conftest import ROOT, run
from tests.template.test_update import commit

spec = importlib.util.spec_from_file_location(
    "adopt", ROOT / "src" / "kedro_airflow_starters" / "adopt.py"
)
adopt = sys.modules["adopt"] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(adopt)


def write(folder, contents):
    for name, text in contents.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return folder


def begin(folder):
    """Put a project into git."""
    run("git", "init", "--quiet", cwd=folder)
    commit(folder, "Create")
    return folder


@pytest.fixture
def create(tmp_path):
    """A function that creates a project with these files, in git."""
    return lambda contents, folder=tmp_path / "project": begin(write(folder, contents))


@pytest.fixture(scope="session")
def render():
    """adopt.render, which renders each kind of project once."""

    def render_once(project, platform):
        key = (adopt.STARTERS, project.name, project.package, platform)
        if key not in rendered:
            rendered[key] = original(project, platform)
        return dict(rendered[key])

    rendered, original = {}, adopt.render
    return render_once


@pytest.fixture
def init(monkeypatch, render):
    """A function that runs the command in a folder, and returns its status and what it prints."""
    return command(monkeypatch, render)


def command(monkeypatch, render):
    monkeypatch.setattr(adopt, "STARTERS", ROOT / "starters")
    monkeypatch.setattr(adopt, "render", render)
    monkeypatch.setattr(adopt, "write_dag", lambda project: None)

    def run_command(folder, *options, **given):
        monkeypatch.chdir(folder)
        done = CliRunner().invoke(adopt.airflow_init, options, **given)
        assert isinstance(done.exception, SystemExit | None), done.exc_info
        return done.exit_code, done.output

    return run_command


def status(folder):
    """What git sees: the names of files by how they differ from the last commit."""
    listed = run("git", "status", "--porcelain", "--untracked-files=all", cwd=folder).stdout
    found = {"M": set(), "D": set(), "?": set()}
    for line in listed.splitlines():
        found[line[:2].strip()[0]].add(line[3:])
    return found
