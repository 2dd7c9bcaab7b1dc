"""No secret leaves a project: by git, in an image or in a package."""

import shutil
import sys
import tarfile
import zipfile

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

import check_secrets
from compose import STARTERS
from tests.conftest import ROOT, answers, cookiecutter, run
from tests.standins.images import context
from tests.standins.planted import (
    LEFT_BEHIND,
    LEFT_OUT,
    LITERALS,
    NEEDED,
    ORDINARY,
    PACKAGE,
    REFUSED,
    SECRET,
    content,
    plant,
    plant_needed,
)
from tests.template.test_snippets import BLOCKS

IMAGES = ["spaceflights-k8s", "spaceflights-astro"]
CREDENTIALS = "conf/airflow/credentials.yml"

names = st.text("abcdefgh_", min_size=1, max_size=8)
refs = st.one_of(
    names.map("${{oc.env:{}}}".format),
    names.map("${{airflow.variable:{}}}".format),
    names.map("${{{}.key}}".format),
    st.tuples(names, names).map(lambda pair: "${{airflow.connection:{},{}}}".format(*pair)),
    st.none(),
)
plain = st.one_of(
    st.text(min_size=1).filter(lambda text: not text.startswith("${")),
    st.integers(),
    st.booleans(),
    st.tuples(names, names).map(lambda pair: "${{oc.env:{},{}}}".format(*pair)),
    st.tuples(names, names).map(lambda pair: "${{{}}}{}".format(*pair)),
    names.map("${{oc.decode:{}}}".format),
)


def nested(leaves):
    return st.recursive(
        leaves, lambda inner: st.dictionaries(names, inner) | st.lists(inner), max_leaves=8
    )


@pytest.fixture(scope="module")
def created(tmp_path_factory):
    """A function that creates a project of a starter, once."""
    folder = tmp_path_factory.mktemp("secrets")

    def create(starter):
        (folder / starter).mkdir(exist_ok=True)
        if not any((folder / starter).iterdir()):
            cookiecutter(ROOT, starter, folder / starter, answers())
        return folder / starter / "space-flights"

    return create


@pytest.fixture
def project(created, request, tmp_path):
    """A fresh copy of a project with files that its code needs."""
    project = shutil.copytree(created(request.param), tmp_path / "space-flights")
    plant_needed(project)
    return project


@pytest.mark.parametrize("name, text, named", LITERALS)
def test_a_secret_is_named_by_its_line_and_key_and_not_shown(name, text, named):
    [problem] = check_secrets.in_file(name, text.encode())
    assert problem.removeprefix(":").startswith(named.removeprefix(":"))
    assert SECRET not in problem


def test_every_line_with_a_secret_is_named():
    text = "password: a1b2c3\nsize: 1\n# https://me:a1b2c3@host\ntoken: a1b2c3\n"
    assert check_secrets.in_file("conf/base/globals.yml", text.encode()) == [
        ":1: password is not a reference",
        ":3: a URL with a password",
        ":4: token is not a reference",
    ]


@given(nested(refs))
def test_references_in_credentials_are_accepted(content):
    assert check_secrets.in_file(CREDENTIALS, yaml.safe_dump(content).encode()) == []


@given(nested(refs), plain, names)
def test_any_other_value_in_credentials_is_named_by_its_key(others, value, key):
    content = yaml.safe_dump({"others": others, "block": [{key: value}]}).encode()
    problems = check_secrets.in_file(CREDENTIALS, content)
    assert problems[0].endswith(f" block.0.{key} is not a reference")


@pytest.mark.parametrize("content", [b"\xff\xfe\x00", b"a: [", b"[default]\nkey = 1\n", b"secret"])
def test_credentials_that_are_not_yaml_are_refused(content):
    assert len(check_secrets.in_file(CREDENTIALS, content)) == 1


@pytest.mark.parametrize("name", REFUSED)
def test_a_file_of_secrets_is_refused_in_a_folder_that_is_shipped(name):
    assert len(check_secrets.in_file(name, content(name).encode())) == 1


@pytest.mark.parametrize("name, text", ORDINARY)
def test_what_only_looks_like_a_secret_is_accepted(name, text):
    assert check_secrets.in_file(name, text.encode()) == []


@pytest.mark.parametrize("starter", STARTERS)
def test_a_starter_has_no_secrets(starter, monkeypatch):
    [template] = (ROOT / "starters" / starter).glob("{{*")
    monkeypatch.setattr(check_secrets, "PROJECT", template)
    assert check_secrets.problems() == []


def test_the_examples_in_the_documentation_have_no_secrets():
    files = [(block.file, block.text) for block in BLOCKS if (block.file or "").endswith(".yml")]
    assert len(files) > 10
    assert [
        found for name, text in files if (found := check_secrets.in_file(name, text.encode()))
    ] == []


@pytest.mark.parametrize("project", IMAGES, indirect=True)  # the others ignore the same
def test_git_takes_what_a_project_needs_and_no_secret(project):
    def taken():
        run("git", "add", "--all", cwd=project)
        return set(run("git", "ls-files", "-z", cwd=project).stdout.split("\0"))

    run("git", "init", "--quiet", cwd=project)
    before = taken()
    assert {*NEEDED, "conf/airflow/credentials.yml", "conf/local/.gitkeep"} <= before
    ours = {path.relative_to(project).as_posix() for path in project.rglob("*") if path.is_file()}
    ours = {name for name in ours if not name.startswith(".git/")}
    assert ours - before <= {".env", "airflow_settings.yaml"}
    plant(project, [*LEFT_BEHIND, *LEFT_OUT, *REFUSED])
    assert taken() == before


@pytest.mark.slow
def test_a_project_may_have_the_name_of_a_secret(tmp_path):
    cookiecutter(ROOT, "spaceflights-k8s", tmp_path, answers("Client Secret"))
    project = tmp_path / "client-secret"
    run(sys.executable, "check_secrets.py", cwd=project)
    run("git", "init", "--quiet", cwd=project)
    run("git", "add", "--all", cwd=project)
    ignored = run("git", "ls-files", "--others", cwd=project).stdout.split()
    assert [name for name in ignored if "__pycache__" not in name] == []


@pytest.mark.slow
@pytest.mark.parametrize("project", IMAGES, indirect=True)
def test_an_images_context_has_what_its_code_needs_and_no_secret(project):
    before = context(project)
    assert set(NEEDED) | {"dags/.airflowignore", "conf/airflow/credentials.yml"} <= before
    plant(project, [*LEFT_BEHIND, *LEFT_OUT, *REFUSED])
    assert context(project) == before


@pytest.mark.slow
@pytest.mark.parametrize("project", ["spaceflights-astro"], indirect=True)
def test_kedro_package_refuses_secrets_and_leaves_out_what_is_local(project):
    def names():
        run("kedro", "package", cwd=project)
        [wheel] = project.glob("dist/*.whl")
        with tarfile.open(project / "dist" / "conf-space_flights.tar.gz") as archive:
            return {f"src/{name}" for name in zipfile.ZipFile(wheel).namelist()} | {
                *archive.getnames()
            }

    before = names()
    assert {name for name in NEEDED if name.startswith(("conf", "src"))} <= before
    plant(project, [*LEFT_BEHIND, *LEFT_OUT])
    plant(project / "build" / "lib" / "space_flights", ["old.json"])
    assert names() == before
    shutil.rmtree(project / "dist")
    plant(project, [f"{PACKAGE}/service-account.json"])
    refused = run("kedro", "package", cwd=project, check=False)
    assert refused.returncode == 1 and not (project / "dist").exists()
    assert f"{PACKAGE}/service-account.json:1: bucket.password is not a reference" in refused.stderr
