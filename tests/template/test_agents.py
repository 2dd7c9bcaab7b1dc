"""Each command that AGENTS.md gives to coding assistants is one that a test runs."""

import re
import shlex
import shutil
import sys
from importlib.metadata import distribution
from pathlib import Path

import pytest

from tests.conftest import ENVIRONMENT, ROOT, run


def commands(path: Path) -> list[list[str]]:
    """The commands in a file's block of bash."""
    [block] = re.findall(r"```bash\n(.*?)```", path.read_text(), re.DOTALL)
    return [shlex.split(line, comments=True) for line in block.splitlines()]


@pytest.mark.parametrize("words", commands(ROOT / "layers" / "base" / "AGENTS.md"), ids=" ".join)
def test_command_for_a_project_is_run_by_its_tests(words):
    call = "command(" + ", ".join(f'"{word}"' for word in words)
    tests = (ROOT / "tests" / "project").glob("test_*.py")
    assert [test.name for test in tests if re.search(re.escape(call) + r"[,)]", test.read_text())]


def origin() -> str | None:
    """Where the product that these tests run was installed from."""
    return distribution("kedro-airflow-starters").read_text("direct_url.json")


@pytest.mark.slow
def test_commands_for_this_repository_work_without_installing_anything(template, tmp_path):
    copy = shutil.copytree(template, tmp_path / "copy")
    venv, before = copy / ".venv", origin()
    venv.mkdir()
    for name in ("bin", "lib", "pyvenv.cfg"):
        (venv / name).symlink_to(Path(sys.prefix, name))
    for name in ("demo", "docs", "test"):  # make's marks of what is installed
        (venv / name).touch()
    environment = ENVIRONMENT | {
        "PYTEST_ADDOPTS": "tests/template/test_git_attributes.py",  # instead of all
        "SKIP": "mypy",  # in pre-commit: test_lint.py runs it
    }
    for words in commands(ROOT / "AGENTS.md"):
        run(*words, cwd=copy, env=environment)
    assert run("git", "status", "--porcelain", cwd=copy).stdout == ""
    assert origin() == before
