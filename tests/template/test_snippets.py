"""What a reader may copy from the documentation is in the project's files, or fits into them.

The language of a fenced block decides how it is checked:

- bash: its commands are known, and make's targets are in a Makefile.
- text: the output of a command, or a tree of files that all exist in a project.
- any other: its title names a file. It is in that file, or passes the checks in `fits`.
"""

import re
import runpy
import shlex
import shutil
import textwrap
from typing import NamedTuple

import pytest
import yaml

from compose import STARTERS
from tests.conftest import ROOT, answers, cookiecutter, run

PAGES = [
    *(ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "AGENTS.md"),
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted((ROOT / "layers").rglob("README.md")),
    ROOT / "layers" / "base" / "AGENTS.md",
]
FENCED = re.compile(r'^( *)```(\w+)(?: title="([^"\n]+)")?\n(.*?)^\1```$', re.MULTILINE | re.DOTALL)
PROGRAMS = {
    *("airflow", "astro", "aws", "cd", "cookiecutter", "copier", "cp", "curl", "docker", "export"),
    *("gh", "git", "kedro", "kubectl", "make", "mkdir", "pip", "python", "python3", "ruff"),
    *("source", "uvx"),
    ".venv/bin/python",
}
SETTINGS = "conf/airflow/airflow.yml"


class Block(NamedTuple):
    place: str
    language: str
    file: str | None
    text: str


def blocks(page):
    text = page.read_text()
    for found in FENCED.finditer(text):
        line = text.count("\n", 0, found.start()) + 1
        place = f"{page.relative_to(ROOT).as_posix()}:{line}"
        yield Block(place, found[2], found[3], textwrap.dedent(found[4]))


def each(*languages):
    chosen = [block for block in BLOCKS if block.language in languages]
    return pytest.mark.parametrize("block", chosen, ids=lambda block: block.place)


BLOCKS = [block for page in PAGES for block in blocks(page)]
OTHERS = {block.language for block in BLOCKS} - {"bash", "text"}


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A project with the documentation's names, from the starter with the most settings."""
    folder = tmp_path_factory.mktemp("project")
    cookiecutter(ROOT, "spaceflights-k8s", folder, answers("My Project"))
    return folder / "my-project"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_block_has_a_language_and_file_contents_have_a_title(page):
    found = list(blocks(page))
    fences = [line for line in page.read_text().splitlines() if line.lstrip().startswith("```")]
    assert len(fences) == 2 * len(found), "write ```text, ```bash or ```yaml title=..."
    assert [block.place for block in found if block.language in OTHERS and not block.file] == []


@each("bash")
def test_commands_are_known(block):
    run("bash", "-n", cwd=ROOT, input=block.text)
    lines = block.text.replace("\\\n", " ").splitlines()
    for program, *words in filter(None, (shlex.split(line, comments=True) for line in lines)):
        assert program in PROGRAMS or re.match(r"\w+=", program)
        if program == "make":
            assert {word.partition("=")[0] for word in words} <= verbs_and_variables()
        if program == "python":
            assert (ROOT / words[0]).is_file()
    starters = re.findall(r"starters?[=/](?!git\+)([\w-]+)", block.text)
    assert set(starters) <= set(STARTERS)


def verbs_and_variables():
    makefiles = [ROOT / "Makefile", *ROOT.glob("starters/*/*/Makefile")]
    text = "\n".join(makefile.read_text() for makefile in makefiles)
    return {*re.findall(r"^([a-z-]+):", text, re.M), *re.findall(r"^([A-Z_]+) \?=", text, re.M)}


@each("text")
def test_tree_names_files_that_a_project_has(block, project):
    path = []
    for indent, name in re.findall(r"^([│ ]*)[├└]── (\S+)", block.text, re.MULTILINE):
        path[len(indent) // 4 :] = [name]
        assert (project / "/".join(path)).exists()


@each(*OTHERS)
def test_block_is_in_its_file_or_fits_into_it(block, project):
    assert stands(block, project) or fits(block, project)


def stands(block, project):
    """Whether one of the project's files has these lines, perhaps as a comment."""
    path = project / block.file
    text = path.read_text() if path.is_file() else ""
    uncommented = re.sub(r"^( *)# ?", r"\1", text, flags=re.MULTILINE)
    return any(f"\n{block.text}" in f"\n{known}" for known in (text, uncommented))


def fits(block, project):
    """Whether the file could have these lines."""
    content = yaml.safe_load(block.text)
    match block.file:
        case "conf/airflow/airflow.yml":
            return set(content) == {"default"}  # the next test checks the rest
        case "conf/airflow/globals.yml":
            return content.keys() == yaml.safe_load((project / block.file).read_text()).keys()
        case "conf/airflow/credentials.yml":
            reference = r"\$\{(airflow\.connection:\w+,\w+|airflow\.variable:\w+|oc\.env:\w+)\}"
            values = [value for entry in content.values() for value in entry.values()]
            return all(re.fullmatch(reference, value) for value in values)
        case "answers.yml":
            hook = runpy.run_path(str(ROOT / "hooks" / "pre_gen_project.py"))
            return content.keys() == answers().keys() and not hook["problem"](**content)
    return False


@pytest.mark.slow
def test_kedro_accepts_all_settings_of_blocks_together(project, tmp_path):
    project = shutil.copytree(project, tmp_path / "my-project")
    settings = yaml.safe_load((project / SETTINGS).read_text())
    for block in BLOCKS:
        if block.file == SETTINGS and not stands(block, project):
            settings["default"] |= yaml.safe_load(block.text)["default"]
    assert {"assets", "params", "secrets", "tasks"} <= settings["default"].keys()
    (project / SETTINGS).write_text(yaml.safe_dump(settings))
    run("make", "dag", cwd=project)
