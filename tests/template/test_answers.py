"""Answers that would break the project are refused; all others create one that can be imported."""

import keyword
import re
import runpy
import sys

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.conftest import (
    GENERATORS,
    ROOT,
    answers,
    cookiecutter,
    copier_copy,
    kedro_new,
    run,
)

PRE_GEN = runpy.run_path(str(ROOT / "hooks" / "pre_gen_project.py"), run_name="hook")
STARTER = "astro-airflow-iris"
REFUSED_NAMES = {
    "empty": "",
    "too-short": "x",
    "keyword": "import",
    "keyword-in-capitals": "Class",
    "standard-library": "email",
    "dependency": "pandas",
    "dependency-of-a-dependency": "Click",
    "module-with-another-name-than-its-package": "yaml",
    "package-with-another-name-than-its-module": "PyYAML",
    "module-in-capitals": "pil",
    "device-of-windows": "con",
    "airflow": "Airflow",
    "tests-folder": "tests",
    "leading-digit": "1project",
    "leading-underscore": "_project",
    "trailing-hyphen": "project-",
    "single-quote": "a'project",
    "double-quote": 'a"project',
    "braces": "a {{ project }}",
    "statement": "a {% project %}",
    "backslash": "a\\project",
    "newline": "a\nproject",
    "trailing-newline": "project\n",
    "slash": "../project",
    "dollar": "a $(project)",
    "emoji": "project 🚀",
}
REFUSED_ANSWERS = {
    "repo-with-slash": {"repo_name": "a/project"},
    "repo-above": {"repo_name": ".."},
    "repo-with-capitals": {"repo_name": "Project"},
    "repo-airflow": {"repo_name": "airflow"},  # its command would replace Airflow's
    "repo-as-pip-spells-it": {"repo_name": "kedro--airflow"},
    "repo-device-of-windows": {"repo_name": "nul.project"},
    "package-with-hyphen": {"python_package": "a-project"},
    "package-with-dot": {"python_package": "a.project"},
    "package-keyword": {"python_package": "lambda"},
    "package-of-python": {"python_package": "json"},
    "package-non-ascii": {"python_package": "prévision"},
}
# Ours, then those of Kedro and cookiecutter, which refuse some names before our hook runs.
ERROR = (
    "Project not created|Validation error for question"
    "|is an invalid (value for project name|Python package name)|Unable to render variable"
    "|unexpected '[%]'|TemplateSyntaxError|directory already exists"
)
REFUSED = {name: answers(text) | {"project_name": text} for name, text in REFUSED_NAMES.items()}
REFUSED |= {name: answers("A project") | given for name, given in REFUSED_ANSWERS.items()}
TRIED_FIRST = {"dependency", "repo-airflow", "package-of-python"}


def derived(name: str) -> dict[str, str]:
    return answers(name) | {"project_name": name}


@pytest.mark.parametrize(
    "given_answers, said",
    [
        (derived("Click"), "project_name 'Click': click is a Python keyword, "),
        (derived("Größe\n"), "project_name 'Größe\\n': Use at least two letters, "),
        (answers("Fine") | {"repo_name": "Fine"}, "repo_name 'Fine': Use lower-case ASCII "),
        (
            answers("Fine") | {"repo_name": "nul.x"},
            "repo_name 'nul.x': nul.x is a Python keyword, ",
        ),
    ],
)
def test_refusal_names_the_answer_as_it_was_typed_and_the_way_out(given_answers, said):
    problem = PRE_GEN["problem"](**given_answers)
    assert problem.startswith(said)
    assert problem.endswith(("Choose another one.", "with a letter or digit."))


@pytest.mark.parametrize("generator", [kedro_new, cookiecutter], ids=lambda each: each.__name__)
@pytest.mark.parametrize(
    "name, folder, package",
    [
        ("Zürich Flights", "zurich-flights", "zurich_flights"),
        ("Straße  2 - B", "strasse-2-b", "strasse_2_b"),
    ],
)
def test_folder_and_package_have_ascii_names_without_gaps(
    generator, name, folder, package, template, forks, tmp_path
):
    generator(template, STARTER, tmp_path, {"project_name": name}, run=forks.run)
    assert (tmp_path / folder / "src" / package).is_dir()


def test_copier_leaves_no_gaps_in_names_and_names_the_question_with_a_refused_answer(
    template, forks, tmp_path
):
    def copied(name):
        given = answers("A  b") | {"project_name": name}
        only = {key: given[key] for key in ("project_name", "repo_name")}
        return copier_copy(template, STARTER, tmp_path, only, run=forks.run, check=False)

    for name, said in (
        ("Zürich", "Validation error for question 'python_package': Use at least two lower-case"),
        ("Pandas", "Validation error for question 'project_name': pandas is a Python keyword"),
    ):
        assert said in copied(name).stderr.strip().splitlines()[-1]
    assert copied("A  b").returncode == 0
    assert (tmp_path / "a-b" / "src" / "a_b").is_dir()


@pytest.mark.parametrize("given_answers", REFUSED.values(), ids=REFUSED)
def test_hook_refuses(given_answers):
    assert PRE_GEN["problem"](**given_answers)


@pytest.mark.parametrize("generator", GENERATORS, ids=lambda generator: generator.__name__)
@pytest.mark.parametrize(
    "given_answers",
    [
        pytest.param(given, id=name, marks=() if name in TRIED_FIRST else pytest.mark.slow)
        for name, given in REFUSED.items()
    ],
)
def test_generator_refuses_with_one_error_and_leaves_nothing(
    generator, given_answers, template, forks, tmp_path
):
    done = generator(template, STARTER, tmp_path, given_answers, run=forks.run, check=False)
    assert done.returncode != 0
    assert re.search(ERROR, done.stdout + done.stderr)
    left = {path.name for path in tmp_path.rglob("*")} - {"answers.yml"}
    assert left <= {"a"}  # cookiecutter creates the empty folder a/ for the repo_name a/project


@pytest.mark.parametrize("generator", GENERATORS, ids=lambda generator: generator.__name__)
def test_existing_folder_is_refused_and_stays_as_it_is(generator, template, forks, tmp_path):
    note = tmp_path / "a-project" / "notes" / "note.txt"
    note.parent.mkdir(parents=True)
    note.write_text("mine")
    done = generator(template, STARTER, tmp_path, answers("A project"), run=forks.run, check=False)
    assert done.returncode != 0
    assert re.search("a-project.* (already exists|is not empty)", done.stdout + done.stderr)
    found = [path for path in tmp_path.rglob("*") if path.is_file() and path.name != "answers.yml"]
    assert found == [note] and note.read_text() == "mine"


def test_keywords_standard_modules_and_names_a_project_uses_are_refused():
    names = {*keyword.kwlist, *sys.stdlib_module_names}
    for project in (ROOT / "starters").glob("*/{{ cookiecutter.repo_name }}"):
        names |= {path.name for path in project.iterdir() if path.is_dir()}
        names |= {path.stem for path in project.glob("dags/*.py")}
    names = {name for name in names if re.fullmatch("[a-z][a-z0-9_]*[a-z0-9]", name)}
    assert names - set(PRE_GEN["REFUSED"]) == set()
    assert all(PRE_GEN["problem"](**derived(name)) for name in PRE_GEN["REFUSED"])


letters = st.characters(codec="utf-8", categories=("L", "N", "P", "S", "Z", "C"))
plausible = st.text(st.sampled_from("abcXYZ019 -_é²'\"{}\\\n"), max_size=12)


@given(st.one_of(st.text(letters, max_size=20), plausible))
@example("ab\n")
@example("ª²")
def test_accepted_name_becomes_a_valid_and_unused_package_name(name):
    given_answers = derived(name)
    if PRE_GEN["problem"](**given_answers) is None:
        package = given_answers["python_package"]
        assert package.isidentifier() and package.isascii()
        assert not keyword.iskeyword(package) and package not in sys.stdlib_module_names
        assert re.fullmatch(r"[A-Za-z0-9]|[A-Za-z0-9][A-Za-z0-9._-]*[A-Za-z0-9]", package)
        assert "\n" not in given_answers["project_name"]


accepted_names = plausible.filter(lambda name: PRE_GEN["problem"](**derived(name)) is None)


@pytest.mark.slow
@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(name=accepted_names)
def test_accepted_name_creates_an_importable_project(name, template, forks, tmp_path_factory):
    folder = tmp_path_factory.mktemp("accepted")
    cookiecutter(template, STARTER, folder, {"project_name": name}, run=forks.run)
    [project] = folder.iterdir()
    package = derived(name)["python_package"]
    registry = f"import {package}.pipeline_registry, {package}.settings"
    run(sys.executable, "-c", registry, cwd=project / "src")
    assert (project / "dags" / f"{package}_airflow_dag.py").is_file()
