"""`kedro airflow-init` adds what a project needs to run on Airflow, and touches nothing else."""

import json
from types import SimpleNamespace

import pytest
import yaml
from kedro.config import OmegaConfigLoader
from kedro.io import CatalogConfigResolver

from tests.conftest import ENVIRONMENT, edit, files, run
from tests.template.conftest import adopt, status, write
from tests.template.projects import BLANK, KINDS, OWN

OF_018 = ('kedro_init_version = "1.7.0', 'project_version = "0.18.1')
adopt_write_dag = adopt.write_dag
PYPROJECT = BLANK["pyproject.toml"]


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
    assert 'extend-exclude = ["dags", "src/own/airflow_dag"]' in output


def test_only_what_they_lack_is_joined(create, init):
    project = create(OWN)
    init(project, "--platform=mwaa")
    added = "\n# kedro airflow-init: begin\nomegaconf<2.4  # with 2.4, every run warns about a "
    added += "function that Kedro 1.7 calls\ns3fs>=2025\n# kedro airflow-init: end\n"
    assert (project / "requirements.txt").read_bytes().decode() == OWN["requirements.txt"] + added
    makefile = (project / "makefile").read_text()
    assert makefile.count("help:") == makefile.count("test:") == 1
    assert "\ndag: ## Write the DAG again" in makefile and "\nbundle: ## " in makefile
    assert run("make", "--dry-run", "dag", cwd=project).stdout == "kedro airflow create\n"


def test_requirements_in_pyproject_are_what_images_install(create, init):
    project = create(BLANK)
    init(project, "--platform=astro")
    lines = (project / "requirements.txt").read_text().splitlines()
    assert lines[1:3] == ["kedro~=1.7", "kedro-datasets[pandas-csvdataset]~=9.6"]


def test_requirements_in_other_files_count(create, init):
    dynamic = '[tool.setuptools.dynamic]\ndependencies = {file = ["needs/all.txt"]}\n'
    needs = {
        "needs/all.txt": "-r more.txt\nomegaconf<3\n",
        "needs/more.txt": "kedro==1.7.2\nKedro.Datasets\n",
    }
    pyproject = PYPROJECT.partition("dependencies")[0] + f"\n[tool{PYPROJECT.partition('[tool')[2]}"
    project = create(BLANK | needs | {"pyproject.toml": pyproject + dynamic})
    init(project, "--platform=astro")
    lines = (project / "requirements.txt").read_text().splitlines()
    assert lines[1:-1] == ["kedro==1.7.2", "Kedro.Datasets", "omegaconf<3"]


def test_project_whose_requirements_are_unknown_is_told_to_list_them(create, init):
    poetry = PYPROJECT.partition("dependencies")[0] + f"\n[tool{PYPROJECT.partition('[tool')[2]}"
    poetry += '[tool.poetry.dependencies]\nkedro = "^1.7"\n'
    said = init(create(BLANK | {"pyproject.toml": poetry}), "--platform=astro")[1]
    assert (
        "Add by hand to requirements.txt:\n" in said
        and "poetry export --without-hashes >> req" in said
    )


def test_dag_that_is_there_already_stays(create, init, capsys):
    dag = {"dags/shop_airflow_dag.py": "ours = 1\n"}
    project = create(BLANK | dag)
    adopt_write_dag(adopt.find_project(project))
    assert capsys.readouterr().out == (
        "\ndags/shop_airflow_dag.py stays as it is. To replace it, run `kedro airflow create`.\n"
    )


def test_folder_that_is_a_link_stays_one(create, init, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    write(tmp_path / "project", BLANK)
    (tmp_path / "project" / "dags").symlink_to(tmp_path / "elsewhere")
    project = create({})
    init(project, "--platform=astro")
    assert (tmp_path / "elsewhere" / "shop_airflow" / "dag.py").is_file()
    assert init(project, "--undo") == (0, "")
    assert (project / "dags").is_symlink() and not any((tmp_path / "elsewhere").iterdir())


def test_project_elsewhere_than_in_src_gets_its_folder(create, init):
    project = create(KINDS["source_dir"])
    init(project, "--platform=k8s")
    assert (project / "lib/elsewhere/airflow_dag/create.py").is_file()
    assert not (project / "src").exists()
    assert "COPY lib lib\n" in (project / "Dockerfile").read_text()
    assert "\n!lib\n" in (project / ".dockerignore").read_text()
    assert '"plugins", "lib")' in (project / "check_secrets.py").read_text()


@pytest.mark.parametrize(
    "kind, place",
    [("blank", "src/shop"), ("source_dir", "lib/elsewhere"), ("at the top", "topmost")],
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


def settings(text):
    return BLANK | {"src/shop/settings.py": text, "conf/globals.yml": "a: 1\n"}


@pytest.mark.parametrize(
    "contents, said",
    [
        ({"a.txt": "a"}, "is not a Kedro project"),
        (old("pyproject.toml", "[tool.kedro]\n"), "is not a Kedro project"),
        (old("pyproject.toml", "["), "is not a Kedro project"),
        (old("pyproject.toml", PYPROJECT.replace("The Shop", "2")), "project_name '': Use"),
        (old("pyproject.toml", PYPROJECT + 'source_dir = "lib"\n'), "no folder lib/shop"),
        (old("pyproject.toml", PYPROJECT.replace("1.7.0", "0.19.9")), "of Kedro 0.19.9,"),
        (old("pyproject.toml", PYPROJECT.replace(*OF_018)), "of Kedro 0.18.1,"),
        (old("requirements.txt", "a\nkedro[x]~=0.19.8\n"), "of Kedro ~=0.19.8,"),
        (old("requirements.txt", "kedro>=0.19,<1  # old\n"), "of Kedro <1,>=0.19,"),
        (old("requirements.txt", "-e .\nkedro==1.2.0 --hash=sha256:a\n"), "Write kedro~=1.7,"),
        (
            old("requirements.txt", "kedro\n".encode("utf-16")),
            "requirements.txt is not UTF-8: save",
        ),
        (
            old("requirements.txt", "-r requirements/a.txt\n")
            | {"requirements/a.txt": "-r ../requirements.txt\n"},
            "requirements.txt names itself by -r: remove that line.",
        ),
        (old("deploy", "echo Ours\n"), "deploy is in the way of deploy/"),
        (old("conf/airflow/airflow.yml/a.txt", "a"), "airflow.yml is in the way of conf/airflow/"),
        (settings("CONF_SOURCE = 'config'"), "Rename the folder config to conf"),
        (
            settings("CONF_SOURCE = './conf'\nA = {}\nCONFIG_LOADER_ARGS = {'a': A}"),
            "move\nconf/gl",
        ),
        (settings("CONFIG_LOADER_ARGS = {'a': 1}"), "move\nconf/globals.yml to conf/base,"),
    ],
)
def test_project_that_cannot_be_adopted_is_named_and_nothing_is_written(
    create, init, contents, said
):
    project = create(contents)
    before = files(project)
    code, output = init(project, "--platform=k8s")
    assert code == 1 and said in output
    after = files(project)
    assert {name for name in before | after if before.get(name) != after.get(name)} <= {
        ".git/index"
    }


@pytest.mark.parametrize(
    "name, found",
    [
        ("Shop: (v2)", "Shop v2"),
        ("2nd. A/B test!", "nd A B test"),
        ("Caf\u00e9 & Co", "Caf\u00e9 Co"),
    ],
)
def test_name_is_what_a_template_can_have(create, init, name, found):
    project = create(old("pyproject.toml", PYPROJECT.replace("The Shop", name)))
    assert init(project, "--platform=astro")[0] == 0
    answers = yaml.safe_load((project / ".copier-answers.yml").read_text())
    assert answers["project_name"] == found


def test_tree_that_is_not_clean_or_not_in_git_is_refused(create, init, tmp_path, monkeypatch):
    project = create(BLANK)
    (project / "new.txt").write_text("")
    assert "not committed: commit it first.\n  ?? new.txt" in init(project, "--platform=mwaa")[1]
    loose = write(tmp_path / "loose", BLANK)
    assert "is not in git: commit it first, so that" in init(loose, "--platform=mwaa")[1]
    monkeypatch.setenv("PATH", "")
    assert init(loose, "--platform=mwaa") == (1, "Error: git is not installed.\n")


def test_copier_copy_over_a_project_names_the_command(create, template, forks):
    project = create(BLANK)
    copy = [
        "copier",
        "copy",
        "--trust",
        "--defaults",
        "--vcs-ref=HEAD",
        "--data=starter=airflow-k8s",
    ]
    done = forks.run(*copy, template, ".", cwd=project, check=False)
    assert done.returncode and "run `uvx --with git+URL kedro airflow-init` in it" in done.stderr
    assert status(project) == {"M": set(), "D": set(), "?": set()}


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
        "project_name": "The Own",
        "python_package": "own",
        "repo_name": "the-own",
        "starter": "airflow-mwaa",
    }
    assert {"Dockerfile", "Makefile", "README.md", "src/own/cli.py", "requirements.txt"} <= set(
        theirs
    )
    assert not {"check_secrets.py", "dags/own_airflow/dag.py"} & set(theirs)


@pytest.mark.slow
def test_command_needs_nothing_that_the_project_imports(create, installed, tmp_path):
    command = [installed / "kedro", "airflow-init", "--platform=mwaa"]
    project = create(OWN | {"src/own/settings.py": "import missing_library\n"})
    done = run(*command, cwd=project)
    assert "not been written yet: ModuleNotFoundError: No module named 'missing_" in done.stdout
    assert "    kedro airflow create\n" in done.stdout
    assert "add the line `_src_path: URL` to .copier-answers.yml" in done.stdout
    assert "_commit: v0.1.0\n" in (project / ".copier-answers.yml").read_text()
    run(installed / "kedro", "airflow-init", "--undo", cwd=project)
    assert status(project) == {"M": set(), "D": set(), "?": set()}
    shared = "number:\n  type: json.JSONDataset\n  filepath: data/number.json\n"
    blank = create(BLANK | {"conf/base/catalog_more.yml": shared}, tmp_path / "blank")
    printed = run(*command, cwd=blank, env=ENVIRONMENT | {"COLUMNS": "300"}).stdout
    assert "All runs pass it on in one place, so they wait for each other" in printed
    assert "filepath: ${_run}/number.json" in printed
    assert "The Airflow DAG is in dags/." in printed
    assert "Airflow is not" in printed and "A deployment would not work: " in printed
    assert "'double_node'" in (blank / "dags/shop_airflow_dag.py").read_text()
    old = create(BLANK | {"requirements.txt": "kedro==0.19.14\n"}, tmp_path / "old")
    edit(old / "pyproject.toml", "1.7.0", "0.19.14")
    refused = run(*command, cwd=old, check=False)
    assert refused.returncode == 1 and "2. In pyproject.toml, under" in refused.stderr
    assert "airflow-init" in run(installed / "kedro", "--help", cwd=tmp_path).stdout
