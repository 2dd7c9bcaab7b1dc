"""`kedro airflow-init` on every kind of project: nothing is lost, and Airflow gives its results.

By default some kinds are updated, and each runs on one platform's settings; AIRFLOW_KINDS=all does
both for each kind on each platform.
"""

import json
import os
import re
import shutil
from itertools import cycle, islice, product

import pytest
import yaml

from local_airflow import LocalAirflow
from tests.conftest import ENVIRONMENT, edit, files, run
from tests.forks import Forks
from tests.template.conftest import adopt, begin, command, status, write
from tests.template.projects import ENVS, FOLDERS, KINDS, OWN
from tests.template.test_update import commit

JOINED = {".gitignore", "requirements.txt", "Makefile", "makefile", "src/resolved/settings.py"}
# Writes the DAG, and says what a check finds that depends neither on the platform nor on Airflow.
CREATE = """
import sys
from importlib import import_module

from kedro.framework.startup import bootstrap_project

project = bootstrap_project(".")
create = import_module(f"{project.package_name}.airflow_dag.create").create
create.main(sys.argv[1:], obj=project, standalone_mode=False)
"""
CHECK = """
import sys
from importlib import import_module

sys.path.insert(0, ".")
from kedro.framework.startup import bootstrap_project

package = bootstrap_project(".").package_name
preflight = import_module(f"{package}.airflow_dag.preflight")
preflight.PLATFORMS, preflight.of_tests = [], lambda project: []
sys.argv[1:] = ["--json"]
preflight.main()
"""
MODULES = """
kedro.framework.cli.cli kedro.framework.session kedro.runner kedro_airflow.plugin rich.table
kedro_datasets.json.json_dataset kedro_datasets.matplotlib.matplotlib_dataset
kedro_datasets.pandas.csv_dataset kedro_datasets.partitions.partitioned_dataset
kedro_datasets.pickle.pickle_dataset kedro_datasets.text.text_dataset sklearn.linear_model
"""
CHANGED = {".gitignore", "Makefile", "README.md", "pyproject.toml", "requirements.txt"}
FAST = {("own files", "k8s"), ("source_dir", "astro"), ("ignoring", "mwaa")}
ALL = [
    pytest.param(*pair, marks=[] if pair in FAST else pytest.mark.slow)
    for pair in product(KINDS, adopt.PLATFORMS)
]
# Those that differ in what an update has to leave alone, each on a platform.
UPDATED = [
    ("blank", "astro"),
    ("resolvers", "mwaa"),
    ("own files", "k8s"),
    ("monorepo", "astro"),
    ("at the top", "mwaa"),
    ("of kedro-airflow", "k8s"),
    ("ignoring", "astro"),
]
FIRST = [0]  # the platform of the first kind; the next kinds take turns
if os.environ.get("AIRFLOW_KINDS") == "all":
    UPDATED, FIRST = list(product(KINDS, adopt.PLATFORMS)), [*range(len(adopt.PLATFORMS))]
FOUND = {
    "spaces": ["warning: dataset one.words", "warning: dataset two.deep.words"],
    "hooked": ["warning: hooked.hooks.Report.before_dataset_saved"],
    "plotted": ["warning: dataset rows@pandas", "warning: dataset rows@text"],
    "staged-prod": ["warning: dataset number"],
    "parted": ["warning: dataset parts"],
    "before": ["warning: dataset number"],
}
IN_ONE_TASK = {"spaces", "plotted", "parted"}  # on Kubernetes, which groups nodes by pipeline


def folders(kind, root):
    return [root / name for name in FOLDERS.get(kind, ["."])]


def tree(root):
    """The files of a project, and the folders that are empty."""
    found = {name: file for name, file in files(root).items() if not name.startswith(".git/")}
    empty = [path for path in root.rglob("*") if path.is_dir() and not any(path.iterdir())]
    return found, [path for path in empty if ".git" not in path.parts]


@pytest.mark.parametrize("kind, platform", ALL)
def test_project_is_adopted_undone_and_adopted_again(create, init, kind, platform):
    root = create(KINDS[kind])
    for project in folders(kind, root):
        before = tree(root)
        assert init(project, "--platform", platform)[0] == 0
        check_added(root, project, before[0])
        adopted = tree(root)
        assert init(project, "--undo") == (0, "")
        assert tree(root) == before
        assert init(project, "--platform", platform)[0] == 0
        assert tree(root) == adopted
        commit(root, "Adopt")


def check_added(root, project, before):
    """Check that git sees every file that was added, and that all others are as they were."""
    after, seen = tree(root)[0], status(root)
    hidden = after.keys() - before.keys() - seen["?"]
    assert {name.rpartition("/")[2] for name in hidden} <= {".env", "airflow_settings.yaml"}
    joined = {(project / name).relative_to(root).as_posix() for name in JOINED}
    assert seen["M"] <= joined and not seen["D"]
    for name, (mode, content) in before.items():
        assert after[name][0] == mode and after[name][1].startswith(content)


@pytest.fixture(scope="module")
def releases(template, tmp_path_factory):
    """What copier reads of the template, in two releases: v0.1.0, and v0.2.0 with changes."""
    folder = tmp_path_factory.mktemp("releases") / "template"
    starters = [f"starters/airflow-{platform}" for platform in adopt.PLATFORMS]
    for name in ["copier.yml", "layers/refused_names.txt", *starters]:
        copy = shutil.copytree if (template / name).is_dir() else shutil.copy
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        copy(template / name, folder / name)
    begin(folder)
    run("git", "tag", "v0.1.0", cwd=folder)
    package = "{{ cookiecutter.python_package }}"
    for ours in folder.glob("starters/*/{{*"):
        edit(ours / "dags" / f"{package}_airflow" / "dag.py", "#ffe36e", "#abcdef")
        edit(ours / "src" / package / "airflow_dag" / "finding.py", '"""What', '"""Where')
        for name in CHANGED:
            (ours / name).write_text("# Release 2\n" + (ours / name).read_text())
        (ours / "NEWS.md").write_text("News of {{ cookiecutter.project_name }}\n")
    commit(folder, "Release 2")
    run("git", "tag", "v0.2.0", cwd=folder)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("kind, platform", UPDATED)
def test_update_renews_what_is_ours(create, init, releases, forks, monkeypatch, kind, platform):
    source = {"_commit": "v0.1.0", "_src_path": str(releases)}
    monkeypatch.setattr(adopt, "origin", lambda: dict(source))
    root = create(KINDS[kind])
    project = folders(kind, root)[0]
    assert init(project, "--platform", platform)[0] == 0
    commit(root, "Adopt")
    theirs = yaml.safe_load((project / adopt.ANSWERS).read_text())["theirs"]
    update = ["copier", "update", "--trust", "--defaults", "--vcs-ref=v0.2.0"]
    done = forks.run(*update, cwd=project)
    package = adopt.find_project(project).package.as_posix()
    engine = f"dags/{package.rpartition('/')[2]}_airflow"
    renewed = {adopt.ANSWERS, f"{engine}/dag.py", *CHANGED} - {*theirs}
    if package.startswith("src/"):
        renewed.add(f"{package}/airflow_dag/finding.py")
    assert ("airflow-init` to renew its" in done.stderr) == (not package.startswith("src/"))
    inside = {(project / name).relative_to(root).as_posix() for name in renewed}
    news = (project / "NEWS.md").relative_to(root).as_posix()
    assert status(root) == {"M": inside, "D": set(), "?": {news}}


@pytest.mark.slow
def test_project_moves_to_another_platform_with_its_edits(
    create, init, releases, forks, monkeypatch
):
    source = {"_commit": "v0.1.0", "_src_path": str(releases)}
    monkeypatch.setattr(adopt, "origin", lambda: dict(source))
    project = create(OWN)
    init(project, "--platform=mwaa")
    edit(project / "conf/airflow/airflow.yml", "retries: 2", "retries: 5")
    commit(project, "Adopt")
    before = tree(project)[0]
    update = ["copier", "update", "--trust", "--defaults", "--vcs-ref=v0.2.0"]
    forks.run(*update, "--data=starter=airflow-k8s", cwd=project)
    after = tree(project)[0]
    assert "deploy/cluster.py" in after and "mwaa/bundle.py" not in after
    assert "retries: 5" in (project / "conf/airflow/airflow.yml").read_text()
    assert {name for name in OWN if after[name] != before[name]} == set()


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["source_dir", "at the top"])
def test_command_renews_what_an_update_does_not_find(create, init, releases, monkeypatch, kind):
    project = create(KINDS[kind])
    init(project, "--platform=k8s")
    commit(project, "Adopt")
    monkeypatch.setattr(adopt, "STARTERS", releases / "starters")
    name = f"{adopt.find_project(project).package}/airflow_dag/finding.py"
    edit(project / name, "import json", "import json as it")
    assert init(project)[1].startswith(f"Error: {name.rpartition('/')[0]} has changes")
    run("git", "checkout", "--quiet", ".", cwd=project)
    assert init(project, "--diff") == (0, f"To renew:\n  {name}\n")
    assert init(project) == (0, f"Renewed:\n  {name}\n")
    assert status(project) == {"M": {name}, "D": set(), "?": set()}
    assert init(project)[1].startswith("Nothing to do: ")


@pytest.fixture(scope="module")
def python():
    """Runs scripts with what the projects import."""
    with Forks(*MODULES.split()) as forks:
        yield forks


@pytest.fixture(scope="module", params=FIRST, ids=str)
def projects(request, python, render, tmp_path_factory):
    """By their DAGs' ids: projects adopted for one platform or another, and copies from before."""
    (script := tmp_path_factory.mktemp("script") / "create.py").write_text(CREATE)
    platforms, found = islice(cycle(adopt.PLATFORMS), request.param, None), {}
    with pytest.MonkeyPatch.context() as monkeypatch:
        init = command(monkeypatch, render)
        for kind, contents in KINDS.items():
            root = begin(write(tmp_path_factory.mktemp("kind"), contents))
            before = shutil.copytree(root, tmp_path_factory.mktemp("before") / "project")
            for project in folders(kind, root):
                assert init(project, "--platform", next(platforms))[0] == 0
                env = ["--env", ENVS[kind]] if kind in ENVS else []
                python.run(script, *env, cwd=project)
                id = "-".join([adopt.find_project(project).package.name, *env[1:]])
                found[id] = project, before / project.relative_to(root), env
    return found


@pytest.fixture(scope="module")
def check(python, tmp_path_factory):
    """A function that returns what a check finds in a project."""
    (script := tmp_path_factory.mktemp("script") / "check.py").write_text(CHECK)
    return lambda project: json.loads(python.run(script, cwd=project, check=False).stdout)


@pytest.mark.slow
def test_what_a_check_finds_depends_on_the_kind(projects, check):
    found = {
        id: [f"{each['level']}: {each['where']}" for each in check(project)]
        for id, (project, _, _) in projects.items()
    }
    grouped = {id for id in IN_ONE_TASK if (projects[id][0] / "dags" / "pod.yaml").exists()}
    assert {id: lines for id, lines in found.items() if lines} == {
        id: lines for id, lines in FOUND.items() if id not in grouped
    }


@pytest.mark.slow
@pytest.mark.parametrize("id", ["spaces", "staged-prod", "parted"])
def test_what_a_check_says_gives_each_run_its_own_data(projects, check, tmp_path, id):
    project = shutil.copytree(projects[id][0], tmp_path / "project")
    for finding in check(project):
        to_do, _, entry = finding["what_to_do"].partition(":\n")
        action, name = re.search("(add to|change in) (conf/.*?),", to_do).groups()
        with (project / name).open("w" if action == "change in" else "a") as catalog:
            catalog.write(f"{entry}\n")
    assert check(project) == []


@pytest.mark.slow
def test_scheduler_gives_the_results_of_kedro_run(projects, python, postgresql, tmp_path):
    (dags := tmp_path / "dags").mkdir()
    for id, (project, before, env) in projects.items():
        python.run("kedro", "run", *env, cwd=before)
        (dags / id).symlink_to(project / "dags")
    environment = postgresql.database() | {
        "AIRFLOW__CORE__PARALLELISM": "4",
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(projects["shop"][0] / "plugins"),
        "KEDRO_RUNNER": "executor",
    }
    with LocalAirflow(tmp_path / "home", dags, environment=environment) as airflow:
        runs = {id: airflow.trigger(id, seconds=300) for id in projects}
        states = {id: airflow.wait(id, run) for id, run in runs.items()}
    assert states == dict.fromkeys(projects, "success")
    for project, before, _ in projects.values():
        assert results(project) == results(before) != {}


def results(project):
    """What a run leaves, by file, whatever its version."""
    paths = [path for path in project.glob("data/08_reporting/**/*") if path.is_file()]
    version = r"/20\d\d-\d\d-[^/]+/"
    return {
        re.sub(version, "/", f"{path.relative_to(project)}"): path.read_bytes() for path in paths
    }


@pytest.mark.slow
def test_tests_of_an_adopted_project_pass(projects):
    project = projects["shop"][0]
    environment = ENVIRONMENT | {"AIRFLOW_HOME": str(project / ".airflow")}
    environment |= {"PYTEST_ADDOPTS": "-p no:copie"}  # as in our own pyproject.toml
    assert " passed" in run("make", "dag", "test", cwd=project, env=environment).stdout
