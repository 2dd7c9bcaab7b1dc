"""`kedro airflow-init` adds what a project needs to run on Airflow, and touches nothing else."""

import importlib.util
import json
import shutil
import sys
from types import SimpleNamespace

import pytest
import yaml
from click.testing import CliRunner
from kedro.config import OmegaConfigLoader
from kedro.io import CatalogConfigResolver

from tests.conftest import ENVIRONMENT, ROOT, edit, files, run
from tests.project.test_versions import RUN_TASKS
from tests.template.test_update import commit

spec = importlib.util.spec_from_file_location(
    "adopt", ROOT / "src" / "kedro_airflow_starters" / "adopt.py"
)
adopt = sys.modules["adopt"] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(adopt)

PYPROJECT = """[project]
name = "shop"
dependencies = ["kedro~=1.7", "kedro-datasets[pandas-csvdataset]~=9.6"]

[tool.kedro]
package_name = "shop"
project_name = "My Shop"
kedro_init_version = "1.7.0"
"""
PIPELINE = """from kedro.pipeline import Node, Pipeline


def count(words: str) -> int:
    return len(words.split())


def double(number: int) -> int:
    return 2 * number


def create_pipeline(**kwargs) -> Pipeline:
    return Pipeline(
        [
            Node(count, "params:words", "number", name="count_node"),
            Node(double, "number", "result", name="double_node"),
        ]
    )
"""
REGISTRY = """from kedro.framework.project import find_pipelines


def register_pipelines():
    pipelines = find_pipelines()
    pipelines["__default__"] = sum(pipelines.values())
    return pipelines
"""
BLANK = {
    "pyproject.toml": PYPROJECT,
    "conf/base/catalog.yml": (
        "result:\n  type: json.JSONDataset\n  filepath: data/08_reporting/result.json\n"
    ),
    "conf/base/parameters.yml": "words: to be or not to be\n",
    "conf/local/.gitkeep": "",
    ".gitignore": "conf/local/**\n!.gitkeep\nconf/**/*credentials*\ndata/**\n.env\n__pycache__/\n",
    "src/shop/__init__.py": "",
    "src/shop/settings.py": "",
    "src/shop/pipeline_registry.py": REGISTRY,
    "src/shop/pipelines/__init__.py": "",
    "src/shop/pipelines/words/__init__.py": "from .pipeline import create_pipeline\n",
    "src/shop/pipelines/words/pipeline.py": PIPELINE,
}
OWN = BLANK | {
    ".vscode/extensions.json": '{"recommendations": ["theirs"]}',
    ".dockerignore": "data\n",
    "Dockerfile": "FROM scratch\n",
    "Makefile": "help:\n\techo help\n\ntest: lint\n\tpytest",
    "requirements.txt": "# caf\u00e9\r\nkedro[a]~=1.7\r\nKedro_Datasets\npolars",
    "src/shop/cli.py": "import missing_library\n\ncli = None\n",
    "src/shop/settings.py": "import missing_library\n",
    "tests/conftest.py": "import os\n",
}
ELSEWHERE = {
    name.replace("src/", "lib/"): text.replace('"My Shop"\n', '"My Shop"\nsource_dir = "lib"\n')
    for name, text in BLANK.items()
}
AT_THE_TOP = {
    name.replace("src/", ""): text.replace('"My Shop"\n', '"My Shop"\nsource_dir = "."\n')
    for name, text in BLANK.items()
}
KINDS = {"blank": BLANK, "own": OWN, "elsewhere": ELSEWHERE, "at the top": AT_THE_TOP}


def write(folder, contents):
    for name, text in contents.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, newline="")
    return folder


@pytest.fixture
def create(tmp_path):
    """A function that creates a project with these files, in git."""

    def create_project(contents, folder=tmp_path / "project"):
        write(folder, contents)
        run("git", "init", "--quiet", cwd=folder)
        commit(folder, "Create")
        return folder

    return create_project


@pytest.fixture(scope="module")
def render():
    """adopt.render, which renders each kind of project once."""

    def render_once(project, platform):
        key = (project.name, project.package, platform)
        if key not in rendered:
            rendered[key] = original(project, platform)
        return dict(rendered[key])

    rendered, original = {}, adopt.render
    return render_once


@pytest.fixture
def init(monkeypatch, render):
    """A function that runs the command in a folder, and returns its status and what it prints."""
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


@pytest.mark.parametrize("platform", adopt.PLATFORMS)
@pytest.mark.parametrize("kind", KINDS)
def test_files_are_added_and_none_is_overwritten_and_undo_brings_all_back(
    create, init, kind, platform
):
    project = create(KINDS[kind])
    before = files(project)
    assert init(project, "--platform", platform)[0] == 0
    changed = status(project)
    assert changed["M"] <= {".gitignore", "requirements.txt", "Makefile"} and not changed["D"]
    assert "conf/airflow/credentials.yml" in changed["?"]
    after = files(project)
    for name, (mode, content) in before.items():
        if not name.startswith(".git/"):
            assert after[name][0] == mode and after[name][1].startswith(content)
    assert init(project, "--undo") == (0, "")
    assert status(project) == {"M": set(), "D": set(), "?": set()}
    assert not any(path.is_dir() and not any(path.iterdir()) for path in project.glob("[a-z]*/**"))


def test_platform_is_asked_for_and_nothing_else(create, init):
    project = create(BLANK)
    code, output = init(project, input="mwaa\n")
    assert code == 0 and output.startswith("Platform (astro, mwaa, k8s): mwaa\n")
    assert (project / "mwaa" / "bundle.py").is_file()


def test_second_run_changes_nothing(create, init):
    project = create(BLANK)
    init(project, "--platform=astro")
    first = files(project)
    code, output = init(project, "--platform=mwaa")
    assert code == 0 and output.startswith("Nothing to do: ")
    assert files(project) == first


def test_diff_shows_all_and_writes_nothing(create, init):
    project = create(OWN)
    before = files(project)
    code, output = init(project, "--platform=k8s", "--diff")
    assert code == 0 and files(project) == before
    assert "  deploy/cluster.py (" in output and "  +dag: ## Write the DAG again" in output
    assert "Dockerfile stays as it is. Add by hand:" in output
    assert "cli.add_command(airflow)" in output and "FROM python:3.12" in output
    assert 'extend-exclude = ["dags", "src/shop/airflow_dag"]' in output


def test_only_what_they_lack_is_joined(create, init):
    project = create(OWN)
    init(project, "--platform=mwaa")
    added = "\n# kedro airflow-init: begin\nomegaconf<2.4  # with 2.4, every run warns about a "
    added += "function that Kedro 1.7 calls\ns3fs>=2025\n# kedro airflow-init: end\n"
    assert (project / "requirements.txt").read_bytes().decode() == OWN["requirements.txt"] + added
    makefile = (project / "Makefile").read_text()
    assert makefile.count("help:") == makefile.count("test:") == 1
    assert "\ndag: ## Write the DAG again" in makefile and "\nbundle: ## " in makefile
    assert run("make", "--dry-run", "dag", cwd=project).stdout == "kedro airflow create\n"


def test_requirements_in_pyproject_are_what_images_install(create, init):
    project = create(BLANK)
    init(project, "--platform=astro")
    lines = (project / "requirements.txt").read_text().splitlines()
    assert lines[1:3] == ["kedro~=1.7", "kedro-datasets[pandas-csvdataset]~=9.6"]


def test_project_elsewhere_than_in_src_gets_its_folder(create, init):
    project = create(ELSEWHERE)
    init(project, "--platform=k8s")
    assert (project / "lib/shop/airflow_dag/create.py").is_file()
    assert not (project / "src").exists()
    assert "COPY lib lib\n" in (project / "Dockerfile").read_text()
    assert "\n!lib\n" in (project / ".dockerignore").read_text()
    assert '"plugins", "lib")' in (project / "check_secrets.py").read_text()


@pytest.mark.parametrize(
    "kind, place", [("blank", "src/shop"), ("elsewhere", "lib/shop"), ("at the top", "shop")]
)
def test_rules_for_assistants_name_the_package_where_it_lies(create, init, kind, place):
    project = create(KINDS[kind])
    init(project, "--platform=mwaa")
    rules = (project / "AGENTS.md").read_text()
    assert f"| nodes and pipelines | `{place}/pipelines/` |" in rules
    assert f", `{place}/airflow_dag/`," in rules


def test_rules_for_assistants_that_a_project_has_stay(create, init):
    project = create(BLANK | {"AGENTS.md": "Be brief.\n"})
    _, output = init(project, "--platform=mwaa")
    assert "\nAGENTS.md stays as it is. Add by hand:\n" in output
    assert (project / "AGENTS.md").read_text() == "Be brief.\n"
    answers = yaml.safe_load((project / ".copier-answers.yml").read_text())
    assert "AGENTS.md" in answers["theirs"]


def test_two_projects_in_one_repository_are_adopted_and_undone_one_by_one(create, init, tmp_path):
    other = PYPROJECT.replace("shop", "mill").replace("Shop", "Mill")
    mill = {name.replace("shop", "mill"): text for name, text in BLANK.items()}
    both = {f"shop/{name}": text for name, text in BLANK.items()}
    both |= {f"mill/{name}": text for name, text in (mill | {"pyproject.toml": other}).items()}
    root = create(both)
    init(root / "shop", "--platform=astro")
    assert init(root / "mill", "--platform=k8s")[0] == 0
    assert (root / "shop/dags/shop_airflow/dag.py").is_file()
    assert (root / "mill/dags/mill_airflow/pod.py").is_file()
    init(root / "mill", "--undo")
    assert {name.split("/")[0] for name in status(root)["?"]} == {"shop"}


def test_undo_keeps_what_was_edited_and_says_so(create, init):
    project = create(BLANK)
    init(project, "--platform=astro")
    edit(project / "conf/airflow/airflow.yml", "retries: 2", "retries: 5")
    assert init(project, "--undo") == (0, "conf/airflow/airflow.yml has changed, and stays.\n")
    assert status(project)["?"] == {"conf/airflow/airflow.yml"}


def old(name, text):
    return BLANK | {name: text}


@pytest.mark.parametrize(
    "contents, said",
    [
        ({"a.txt": "a"}, "is not a Kedro project"),
        (old("pyproject.toml", "[tool.kedro]\n"), "is not a Kedro project"),
        (old("pyproject.toml", "["), "is not a Kedro project"),
        (old("pyproject.toml", PYPROJECT.replace("My", "x:")), "project_name 'x: Shop': Use"),
        (old("pyproject.toml", PYPROJECT + 'source_dir = "lib"\n'), "no folder lib/shop"),
        (old("pyproject.toml", PYPROJECT.replace("1.7.0", "0.19.9")), "of Kedro 0.19.9,"),
        (old("requirements.txt", "a\nkedro[x]~=0.19.8\n"), "of Kedro 0.19.8,"),
    ],
)
def test_project_that_cannot_be_adopted_is_named_and_nothing_is_written(
    create, init, contents, said
):
    project = create(contents)
    before = files(project)
    code, output = init(project, "--platform=mwaa")
    assert code == 1 and said in output
    assert files(project) == before


def test_tree_that_is_not_clean_or_not_in_git_is_refused(create, init, tmp_path):
    project = create(BLANK)
    (project / "new.txt").write_text("")
    assert "not committed: commit it first." in init(project, "--platform=mwaa")[1]
    loose = write(tmp_path / "loose", BLANK)
    assert "is not in git: commit it first." in init(loose, "--platform=mwaa")[1]


def test_unknown_platform_is_refused(create, init):
    code, output = init(create(BLANK), "--platform=moon")
    assert code == 2 and "'moon' is not one of 'astro', 'mwaa', 'k8s'" in output


FACTORY = '"{}":\n  type: pandas.CSVDataset\n  filepath: theirs.csv\n'


@pytest.mark.parametrize(
    "pattern, name, theirs",
    [
        ("{name}_table", "price_table", True),
        ("{namespace}.{name}", "a.b", True),
        ("{default}", "price_table", True),
        ("{any_dataset}", "price_table", True),
        ("price_table", "price_table", True),
        ("{name}_table", "price", False),
    ],
)
def test_only_what_their_catalog_says_nowhere_is_in_the_folder_of_a_run(
    create, init, pattern, name, theirs
):
    project = create(BLANK | {"conf/base/catalog_own.yml": FACTORY.format(pattern)})
    init(project, "--platform=astro")
    given = {"airflow": {"folder": "RUN"}}
    loader = OmegaConfigLoader(project / "conf", "airflow", given, base_env="base")
    resolver = CatalogConfigResolver(loader["catalog"], default_runtime_patterns={})
    expected = "theirs.csv" if theirs else f"data/02_intermediate/RUN/{name}.pickle"
    assert resolver.resolve_pattern(name)["filepath"] == expected


def test_their_storage_counts_under_airflow_too(create, init):
    project = create(BLANK | {"conf/base/globals.yml": "storage: s3://theirs\n"})
    init(project, "--platform=mwaa")
    loader = OmegaConfigLoader(project / "conf", "airflow", base_env="base")
    assert loader["catalog"]["{any_dataset}"]["filepath"].startswith("s3://theirs/02_inter")


@pytest.mark.parametrize(
    "direct, expected",
    [
        (
            {"url": "https://example.org/a", "vcs_info": {"vcs": "git", "commit_id": "abc"}},
            {"_commit": "abc", "_src_path": "git+https://example.org/a"},
        ),
        (
            {"url": "file:///a%20clone", "dir_info": {}},
            {"_commit": "v9", "_src_path": "/a clone"},
        ),
        ({"url": "file:///a.whl", "archive_info": {}}, {"_commit": "v9"}),
        (None, {"_commit": "v9"}),
    ],
    ids=["git", "folder", "wheel", "index"],
)
def test_answers_name_the_commit_or_else_the_release(monkeypatch, direct, expected):
    package = SimpleNamespace(version="9", read_text=lambda name: direct and json.dumps(direct))
    monkeypatch.setattr(adopt.importlib.metadata, "distribution", lambda name: package)
    assert adopt.origin() == expected


def test_without_a_repository_the_user_is_told_to_name_one(create, init, monkeypatch):
    monkeypatch.setattr(adopt, "origin", lambda: {"_commit": "v9"})
    said = "Before the first `copier update`, add the line `_src_path: URL` to .copier-answers.yml"
    assert said in init(create(BLANK), "--platform=mwaa")[1]


@pytest.mark.parametrize("answers", [None, "starter: spaceflights-mwaa\n"])
def test_there_is_nothing_to_undo_in_a_project_that_was_not_adopted(create, init, answers):
    project = create(BLANK | ({".copier-answers.yml": answers} if answers else {}))
    assert init(project, "--undo") == (
        1,
        "Error: Nothing to undo: .copier-answers.yml has nothing of airflow-init.\n",
    )
    assert status(project) == {"M": set(), "D": set(), "?": set()}


def test_answers_are_those_of_copier_and_say_what_stays_theirs(create, init, monkeypatch):
    monkeypatch.setattr(adopt, "origin", lambda: {"_commit": "v0.1.0", "_src_path": "URL"})
    project = create(OWN)
    init(project, "--platform=mwaa")
    answers = yaml.safe_load((project / ".copier-answers.yml").read_text())
    theirs = answers.pop("theirs")
    assert answers == {
        "_commit": "v0.1.0",
        "_src_path": "URL",
        "project_name": "My Shop",
        "python_package": "shop",
        "repo_name": "my-shop",
        "starter": "airflow-mwaa",
    }
    assert {"Dockerfile", "Makefile", "README.md", "src/shop/cli.py", "requirements.txt"} <= set(
        theirs
    )
    assert not {"check_secrets.py", "dags/shop_airflow/dag.py"} & set(theirs)


@pytest.mark.slow
def test_adopted_project_is_updated_by_copier_and_keeps_its_own_files(
    create, init, template, tmp_path, monkeypatch
):
    releases = shutil.copytree(template, tmp_path / "releases")
    source = {"_commit": "v0.1.0", "_src_path": str(releases)}
    monkeypatch.setattr(adopt, "origin", lambda: dict(source))
    project = create(OWN)
    init(project, "--platform=mwaa")
    edit(project / "conf/airflow/airflow.yml", "retries: 2", "retries: 5")
    commit(project, "Adopt")
    before = files(project)

    ours = releases / "starters" / "airflow-mwaa" / "{{ cookiecutter.repo_name }}"
    engine = ours / "dags" / "{{ cookiecutter.python_package }}_airflow" / "dag.py"
    edit(engine, 'ui_color = "#ffe36e"', 'ui_color = "#abcdef"')
    for name in ("Makefile", "README.md", "requirements.txt", ".gitignore", "pyproject.toml"):
        (ours / name).write_text("# Release 2\n" + (ours / name).read_text())
    edit(ours / "conf" / "airflow" / "airflow.yml", "max_active_runs: 3", "max_active_runs: 4")
    (ours / "NEWS.md").write_text("News of {{ cookiecutter.project_name }}\n")
    commit(releases, "Release 2")
    run("git", "tag", "v0.2.0", cwd=releases)
    run("copier", "update", "--trust", "--defaults", "--vcs-ref=v0.2.0", cwd=project)
    settings = (project / "conf/airflow/airflow.yml").read_text()
    assert "max_active_runs: 4" in settings and "retries: 5" in settings
    assert "#abcdef" in (project / "dags/shop_airflow/dag.py").read_text()
    answers = yaml.safe_load((project / ".copier-answers.yml").read_text())
    assert answers["_commit"] == "v0.2.0" and "Makefile" in answers["theirs"]
    renewed = {"conf/airflow/airflow.yml", "dags/shop_airflow/dag.py", ".copier-answers.yml"}
    assert status(project) == {"M": renewed, "D": set(), "?": {"NEWS.md"}}
    commit(project, "Update")
    move = ["copier", "update", "--trust", "--defaults", "--vcs-ref=v0.2.0"]
    run(*move, "--data=starter=airflow-k8s", cwd=project)
    after = files(project)
    assert "deploy/cluster.py" in after and "mwaa/bundle.py" not in after
    assert {name for name in OWN if after[name] != before[name]} == set()


@pytest.mark.slow
def test_dag_of_an_adopted_project_gives_the_results_of_kedro_run(create, init, monkeypatch):
    write_dag = adopt.write_dag
    project = create(BLANK)
    result = project / "data/08_reporting/result.json"
    run("kedro", "run", cwd=project)
    expected = result.read_bytes()
    result.unlink()
    assert init(project, "--platform=astro")[0] == 0
    write_dag(adopt.find_project(project))
    home = ENVIRONMENT | {"AIRFLOW_HOME": str(project / ".airflow")}
    home |= {"PYTEST_ADDOPTS": "-p no:copie"}  # as in our own pyproject.toml
    assert " passed" in run("make", "dag", "test", cwd=project, env=home).stdout
    dag = project / "dags" / "shop_airflow_dag.py"
    run(sys.executable, "-c", RUN_TASKS, dag, cwd=project.parent, env=home)
    assert result.read_bytes() == expected
    assert list(project.glob("data/02_intermediate/manual__1/number.pickle"))


@pytest.mark.slow
def test_command_needs_nothing_that_the_project_imports(create, installed, tmp_path):
    command = [installed / "kedro", "airflow-init", "--platform=mwaa"]
    project = create(OWN)
    done = run(*command, cwd=project)
    assert "not been written yet: ModuleNotFoundError: No module named 'missing_" in done.stdout
    assert "    kedro airflow create\n" in done.stdout
    assert "add the line `_src_path: URL` to .copier-answers.yml" in done.stdout
    assert "_commit: v0.1.0\n" in (project / ".copier-answers.yml").read_text()
    run(installed / "kedro", "airflow-init", "--undo", cwd=project)
    assert status(project) == {"M": set(), "D": set(), "?": set()}
    blank = create(BLANK, tmp_path / "blank")
    printed = run(*command, cwd=blank).stdout
    assert "The Airflow DAG is in dags/." in printed
    assert "Airflow is not" in printed and "A deployment would not work: " in printed
    assert "'double_node'" in (blank / "dags/shop_airflow_dag.py").read_text()
    old = create(BLANK | {"requirements.txt": "kedro==0.19.14\n"}, tmp_path / "old")
    edit(old / "pyproject.toml", "1.7.0", "0.19.14")
    refused = run(*command, cwd=old, check=False)
    assert refused.returncode == 1 and "2. In pyproject.toml, under" in refused.stderr
    assert "airflow-init" in run(installed / "kedro", "--help", cwd=tmp_path).stdout
