"""`make check` finds what would go wrong under Airflow: where, why, and what to do."""

import json
import shutil

import pytest
from flights.airflow_dag.finding import Finding, show

from tests.conftest import ENVIRONMENT, answers, cookiecutter, edit
from tests.forks import Forks

SCRIPT = """
import os, sys

sys.path[:0] = [".", "src"]
sys.modules.update(dict.fromkeys(os.environ.get("NOT_INSTALLED", "").split()))
from space_flights.airflow_dag import preflight

preflight.of_tests = lambda project: []  # they take seconds
preflight.main()
"""
MODULES = """
kedro.framework.session kedro.runner kedro_airflow.plugin kedro_telemetry.plugin
fsspec.implementations.memory packaging.requirements
kedro_datasets.json.json_dataset kedro_datasets.matplotlib.matplotlib_dataset
kedro_datasets.pandas.csv_dataset kedro_datasets.pandas.excel_dataset
kedro_datasets.pandas.parquet_dataset kedro_datasets.pickle.pickle_dataset
matplotlib.figure rich.table sklearn.linear_model sklearn.metrics sklearn.model_selection
"""
CATALOG, SETTINGS = "conf/base/catalog.yml", "src/space_flights/settings.py"
PIPELINE = "src/space_flights/pipelines/data_science/pipeline.py"
VERSIONED = "regressor.pickle\n  versioned: true"
HOOKS = """
from kedro.framework.hooks import hook_impl


class Timers:
    @hook_impl
    def before_node_run(self, node):
        self.started[node.name] = 0
        self.nodes.append(node)
        names = []
        names.append(node.name)
        names[0] = self.latest

    @hook_impl
    def after_context_created(self, context):
        self.context = context


HOOKS = (Timers(),)
"""
TRIED = """
try:
    from kedro.pipeline.modular_pipeline import pipeline
except ImportError:
    from kedro.pipeline import pipeline
"""
TABLE = """
            where          why                              what to do
 ──────────────────────────────────────────────────────────────────────
  error     dataset rows   It is on a disk. A Deployment    Move it.
                           has none.
  warning   dataset plot   It may be [half] saved.          Store it:
                                                            plot:
                                                              a: 1
A deployment would not work: 1 error.
""".splitlines()[1:]
NO_DISK = "The workers of a Deployment share no disk."

# By name: a file of the project, a text in it (none: its end) and what takes its place; and the
# finding: level, where, why, and what to do.
KINDS = {
    "dataset in memory": (
        *(CATALOG, "pickle.PickleDataset\n", "MemoryDataset\n  # "),
        *("error", "dataset regressor"),
        "A task passes it on to another one, but it is kept in memory.",
        "Add an entry or a factory for it to conf/airflow/catalog.yml.",
    ),
    "dataset that all runs share": (
        *(CATALOG, VERSIONED, "regressor.pickle"),
        *("warning", "dataset regressor"),
        "All runs pass it on in one place, so they wait for each other (max_active_runs=1).",
        "To give each run its own, add to conf/airflow/catalog.yml, and run `make dag`:\n"
        "regressor:\n  type: pickle.PickleDataset\n  filepath: ${_run}/regressor.pickle",
    ),
    "dataset with an old name": (
        *(CATALOG, "pickle.PickleDataset", "pickle.PickleDataSet"),
        *("error", "dataset regressor"),
        "Dataset 'PickleDataSet' not found in 'pickle'. Make sure the dataset name is correct.",
        "Write pickle.PickleDataset in the catalog.",
    ),
    "dataset with a wrong entry": (
        *(CATALOG, VERSIONED, f"{VERSIONED}\n  compression: gzip"),
        *("error", "dataset regressor"),
        "PickleDataset.__init__() got an unexpected keyword argument 'compression'.",
        "Correct its entry in the catalog, or add what it needs to requirements.txt.",
    ),
    "absolute path": (
        *(CATALOG, "${globals:storage}/01_raw/reviews.csv", "/home/me/reviews.csv"),
        *("error", "dataset reviews", f"It is on a disk, at /home/me/reviews.csv. {NO_DISK}"),
        "Store it below `${globals:storage}`.",
    ),
    "local path": (
        *(CATALOG, "${globals:storage}/08_reporting/metrics", "data/../metrics"),
        *("error", "dataset metrics", f"It is on a disk, at data/../metrics.json. {NO_DISK}"),
        "Store it below `${globals:storage}`.",
    ),
    "local storage": (
        *("conf/airflow/globals.yml", "memory://data", "data"),
        *("error", "conf/airflow/globals.yml", f"The storage is 'data'. {NO_DISK}"),
        "Set it to a bucket, like s3://BUCKET/PREFIX.",
    ),
    "missing credentials": (
        *(CATALOG, VERSIONED, f"{VERSIONED}\n  credentials: models"),
        *("error", "conf/airflow/credentials.yml"),
        "The catalog names the credentials models, which tasks do not find in conf/local.",
        "Add a block models here, with references to the environment or to Airflow.",
    ),
    "secret": (
        *("conf/base/globals.yml", "", "password: a1b2c3\n"),
        *("error", "conf/base/globals.yml:3", "password is not a reference."),
        "Move it to conf/local, and refer to the environment or Airflow instead.",
    ),
    "requirement that is not installed": (
        *("requirements.txt", "scikit-learn>=1.5", "scikit-learn>=99  # soon"),
        *("error", "requirements.txt"),
        "scikit-learn>=99 is not what is installed here, so no test has used it.",
        "Run `make install test`.",
    ),
    "requirement in another file": (
        *("requirements.txt", "", "-r more.txt\n-c https://example.org/constraints.txt\n"),
        *("error", "requirements.txt"),
        "`-r more.txt` names files that images do not have yet when they install this one.",
        "Write what it requires in its place.",
    ),
    "requirement that the image refuses": (
        *("requirements.txt", "", "apache-airflow>=3\n"),
        *("error", "requirements.txt"),
        "The image has its own Airflow, and refuses to install another.",
        "Remove apache-airflow: its version is in the Dockerfile.",
    ),
    "hook with state": (
        *(SETTINGS, "", HOOKS),
        *("warning", "space_flights.settings.Timers.before_node_run"),
        "Other tasks do not see self.nodes, self.started: each has hooks of its own.",
        "Store it outside, unless only hooks around the same node read it.",
    ),
    "runner": (
        *(SETTINGS, "", "\nimport kedro.runner\n\n\nclass Mine(kedro.runner.ThreadRunner): ...\n"),
        *("warning", "space_flights/settings.py:14"),
        "Tasks do not use the runner Mine: the DAG has its own.",
        "Move what it does to hooks, unless only `kedro run` needs it.",
    ),
    "confirms in another task": (
        *(
            PIPELINE,
            'outputs="metrics",',
            'outputs="metrics",\n                confirms="X_train",',
        ),
        *("error", "pipeline __default__"),
        "evaluate_model_node confirms X_train, which another task loads: it would also confirm "
        "what came in between.",
        "Put both nodes into one task: see group_by.",
    ),
    "setting of the DAG": (
        *("conf/airflow/airflow.yml", "retries: 2", "retires: 2"),
        *("error", "pipeline __default__"),
        "conf/airflow/airflow.yml: default: retires: unknown name; did you mean retries?",
        "Correct it.",
    ),
    "renamed argument": (
        *(SETTINGS, "", "\n\ndef old():\n    pipeline(pipe=[])\n"),
        *("error", "space_flights/settings.py:13"),
        "Kedro 1 has another name for the argument `pipe`.",
        "Write `nodes`.",
    ),
    "old import": (
        *(SETTINGS, "", "\n\ndef old():\n    from kedro.pipeline import modular_pipeline\n"),
        *("error", "space_flights/settings.py:13"),
        "`kedro.pipeline.modular_pipeline` does not exist in Kedro 1.7.0, or is not installed.",
        "Import `pipeline` from `kedro.pipeline`.",
    ),
    "session store": (
        *(SETTINGS, "", "\n\ndef old():\n    import kedro_viz.integrations.kedro.sqlite_store\n"),
        *("error", "space_flights/settings.py:13"),
        "`kedro_viz.integrations.kedro.sqlite_store` does not exist in Kedro 1.7.0, or is not "
        "installed.",
        "Remove it, and `SESSION_STORE_CLASS`: Kedro-Viz no longer has a session store.",
    ),
    "project of Kedro 0.19": (
        *("pyproject.toml", '"1.7.0"', '"0.19.14"'),
        *("error", "the project"),
        "Kedro cannot load it: Your Kedro project version 0.19.14 does not match Kedro package "
        "version 1.7.0 you are running. Make sure to update your project template. See "
        "https://github.com/kedro-org/kedro/blob/main/RELEASE.md for how to migrate your Kedro "
        "project.",
        "Make `kedro registry list` work.",
    ),
}


@pytest.fixture(scope="module")
def python():
    """Runs Python with what the projects import."""
    with Forks(*MODULES.split()) as forks:
        yield forks


@pytest.fixture(scope="module")
def created(template, forks, tmp_path_factory):
    """A function that returns a project whose storage is a bucket, where that is needed."""
    projects = {}

    def create(starter):
        if starter not in projects:
            folder = tmp_path_factory.mktemp(starter)
            cookiecutter(template, starter, folder, answers(), forks.run)
            projects[starter] = folder / "space-flights"
            if starter != "spaceflights-k8s":
                edit(projects[starter] / "conf/airflow/globals.yml", ": data", ": memory://data")
        return projects[starter]

    return create


@pytest.fixture
def copy(created, tmp_path):
    """A function that copies a project of a starter."""
    return lambda starter: shutil.copytree(created(starter), tmp_path / "space-flights")


@pytest.fixture
def check(python, tmp_path):
    """A function that checks a project, and returns the exit status and what is printed."""
    (tmp_path / "check.py").write_text(SCRIPT)

    def check_project(project, *options, **more):
        environment = ENVIRONMENT | {"COLUMNS": "200"} | more
        command = [tmp_path / "check.py", *options]
        done = python.run(*command, cwd=project, check=False, env=environment)
        return done.returncode, done.stdout or done.stderr

    return check_project


@pytest.mark.parametrize("starter", ["spaceflights-astro", "spaceflights-k8s"])
def test_nothing_is_found_in_a_new_project(starter, created, check):
    assert check(created(starter)) == (0, "A deployment would work.\n")
    assert check(created(starter), "--json") == (0, "[]\n")


@pytest.mark.parametrize("kind", KINDS)
def test_it_is_found(kind, copy, check):
    file, old, new, *finding = KINDS[kind]
    change(project := copy("spaceflights-astro"), file, old, new)
    status, printed = check(project, "--json")
    keys = ("level", "where", "why", "what_to_do")
    assert printed == json.dumps([dict(zip(keys, finding, strict=True))], indent=2) + "\n"
    assert status == (finding[0] == "error")


def test_dataset_that_is_not_saved_whole_is_found(copy, check):
    appended = "regressor.pickle\n  fs_args: {open_args_save: {mode: ab}}"
    change(project := copy("spaceflights-astro"), CATALOG, VERSIONED, appended)
    status, printed = check(project, "--json")
    [shared, half] = json.loads(printed)
    assert shared["what_to_do"].splitlines()[-4:] == [
        "  filepath: ${_run}/regressor.pickle",
        "  fs_args:",
        "    open_args_save:",
        "      mode: ab",
    ]
    assert half == {
        "level": "warning",
        "where": "dataset regressor",
        "why": "A killed task may leave half of what it saves here, for the next task to load.",
        "what_to_do": "Pass it on in a file in `${_run}`, or let the node that saves it clean up "
        "first.",
    }
    assert status == 0


def test_imports_that_are_tried_and_credentials_that_tasks_find_are_not_found(copy, check):
    project = copy("spaceflights-astro")
    change(project, SETTINGS, "", TRIED)
    change(project, CATALOG, VERSIONED, f"{VERSIONED}\n  credentials: models")
    change(project, "conf/airflow/credentials.yml", "", "models: {key: '${oc.env:NOT_HERE}'}\n")
    assert check(project, "--json") == (0, "[]\n")


def test_pods_keep_what_is_on_mounted_volumes(copy, check):
    project = copy("spaceflights-k8s")
    change(project, CATALOG, "${globals:storage}/01_raw/reviews", "/mnt/raw/reviews")
    status, printed = check(project, "--json")
    why = "It is on a disk, at /mnt/raw/reviews.csv. The disk of a pod vanishes with the pod."
    assert (status, [found["why"] for found in json.loads(printed)]) == (1, [why])
    change(
        project,
        "conf/airflow/airflow.yml",
        "  # volumes: {models: /mnt/models}",
        "  volumes: {raw: /mnt/raw}",
    )
    assert check(project, "--json") == (0, "[]\n")


def test_storage_and_requirements_that_mwaa_refuses_are_found(copy, check):
    project = copy("spaceflights-mwaa")
    change(project, "requirements.txt", "", "pandas!=3.0.5\n")
    change(project, "conf/airflow/globals.yml", "memory://data", "data")
    status, printed = check(project, "--json")
    assert [found["why"] for found in json.loads(printed)] == [
        "MWAA for Airflow 3.3.1 cannot install requirements.txt:\n"
        "  pandas!=3.0.5: MWAA has pandas 3.0.5",
        "The storage is 'data'. The workers of MWAA share no disk.",
    ]
    assert status == 1


def test_mwaas_lists_need_uv(copy, check):
    status, printed = check(copy("spaceflights-mwaa"), "--json", NOT_INSTALLED="uv")
    assert status == 1 and json.loads(printed) == [
        {
            "level": "error",
            "where": "requirements.txt",
            "why": "uv is not installed here, so nothing tells whether MWAA can install them.",
            "what_to_do": "Run `make install`.",
        }
    ]


def test_table_has_each_finding_once_and_errors_first(monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "72")
    half = Finding("warning", "dataset plot", "It may be [half] saved.", "Store it:\nplot:\n  a: 1")
    disk = Finding("error", "dataset rows", "It is on a disk. A Deployment has none.", "Move it.")
    show([half, disk, half], as_json=False)
    assert [line.rstrip() for line in capsys.readouterr().out.splitlines() if line.strip()] == TABLE


def change(project, file, old, new):
    """Replace a text in a file, or append to it."""
    if old:
        edit(project / file, old, new)
    else:
        with (project / file).open("a") as opened:
            opened.write(new)
