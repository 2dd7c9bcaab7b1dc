"""plugins/preload.py imports libraries in the scheduler, and nowhere else."""

import json
import re

import pytest

from tests.conftest import ENVIRONMENT, ROOT
from tests.forks import Forks

PLUGIN = ROOT / "layers" / "base" / "plugins" / "preload.py"
LOAD = """
import json, logging, runpy, sys
import airflow.configuration

before = list(logging.root.handlers)
libraries = runpy.run_path(sys.argv[-1]).get("LIBRARIES", [])
assert logging.root.handlers == before
print(json.dumps([[name for name in libraries if name in sys.modules], sorted(sys.modules)]))
"""


@pytest.fixture(scope="module")
def loaded(tmp_path_factory):
    """Lists which of its libraries, and which modules at all, a command has after the plugin."""
    script = tmp_path_factory.mktemp("preload") / "load.py"
    script.write_text(LOAD)

    def load(command, plugin=PLUGIN, **settings):
        environment = ENVIRONMENT | settings
        done = forks.run(script, *command.split(), plugin, cwd=ROOT, env=environment)
        return json.loads(done.stdout)

    with Forks("airflow.configuration") as forks:
        yield load


@pytest.fixture
def short(tmp_path):
    """The plugin with two libraries that are installed, and one that is not."""
    plugin = tmp_path / "preload.py"
    libraries = 'LIBRARIES = ["dynaconf", "not_installed", "openpyxl"]'
    plugin.write_text(re.sub(r"(?s)LIBRARIES = \[.*?\]", libraries, PLUGIN.read_text()))
    return plugin


@pytest.mark.slow
def test_the_scheduler_has_the_libraries_but_not_kedros_logging(loaded):
    libraries, modules = loaded("scheduler")
    assert libraries == [
        "dynaconf",
        "kedro.config",
        "kedro.io",
        "kedro.pipeline",
        "kedro_datasets.pandas",
        "matplotlib.pyplot",
        "openpyxl",
        "pandas",
        "requests",
        "sklearn.linear_model",
        "sklearn.metrics",
        "sklearn.model_selection",
    ]
    assert "kedro.framework.project" not in modules


def test_a_celery_worker_that_loads_plugins_when_it_starts_has_the_libraries(loaded, short):
    environment = {"AIRFLOW__CORE__LAZY_LOAD_PLUGINS": "False"}
    assert loaded("celery worker", short, **environment)[0] == ["dynaconf", "openpyxl"]


def test_the_scheduler_of_a_project_for_kubernetes_has_what_starts_pods_too(loaded):
    starter = ROOT / "starters" / "spaceflights-k8s" / "{{ cookiecutter.repo_name }}"
    plugin = starter / "plugins" / "preload_pods.py"
    assert "airflow.providers.cncf.kubernetes.operators.pod" in loaded("scheduler", plugin)[1]
    assert "airflow.providers.cncf.kubernetes.operators.pod" not in loaded("triggerer", plugin)[1]


@pytest.mark.parametrize("command", ["dag-processor", "api-server", "triggerer", "standalone"])
def test_other_processes_have_none(loaded, command):
    assert loaded(command, AIRFLOW__CORE__LAZY_LOAD_PLUGINS="False")[0] == []


def test_a_scheduler_that_forks_no_tasks_has_none(loaded):
    assert loaded("scheduler", AIRFLOW__CORE__EXECUTOR="CeleryExecutor")[0] == []


def test_a_task_of_a_celery_worker_that_loads_plugins_late_imports_what_it_needs_itself(loaded):
    assert loaded("celery worker")[0] == []


def test_a_library_that_is_not_installed_is_skipped(loaded, short):
    assert loaded("scheduler", short)[0] == ["dynaconf", "openpyxl"]
