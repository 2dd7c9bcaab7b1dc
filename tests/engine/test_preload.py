"""plugins/preload.py imports libraries in the scheduler, and nowhere else."""

import json
import os
import sys

import pytest

from tests.conftest import ENVIRONMENT, ROOT, run

PLUGIN = ROOT / "layers" / "base" / "plugins" / "preload.py"
LOAD = """
import json, logging, runpy, sys
import airflow.configuration

before = list(logging.root.handlers)
libraries = runpy.run_path(sys.argv[-1]).get("LIBRARIES", [])
assert logging.root.handlers == before
print(json.dumps([[name for name in libraries if name in sys.modules], sorted(sys.modules)]))
"""


def loaded(command, plugin=PLUGIN, **settings):
    """The listed libraries, and all modules, that an Airflow command has after the plugin."""
    environment = ENVIRONMENT | settings
    done = run(sys.executable, "-c", LOAD, *command.split(), plugin, cwd=ROOT, env=environment)
    return json.loads(done.stdout)


def test_the_scheduler_has_the_libraries_but_not_kedros_logging():
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


def test_a_celery_worker_that_loads_plugins_at_its_start_has_the_libraries():
    libraries, _ = loaded("celery worker", AIRFLOW__CORE__LAZY_LOAD_PLUGINS="False")
    assert "pandas" in libraries


def test_the_scheduler_of_a_project_for_kubernetes_has_what_starts_pods_too():
    starter = ROOT / "starters" / "spaceflights-k8s" / "{{ cookiecutter.repo_name }}"
    plugin = starter / "plugins" / "preload_pods.py"
    assert "airflow.providers.cncf.kubernetes.operators.pod" in loaded("scheduler", plugin)[1]
    assert "airflow.providers.cncf.kubernetes.operators.pod" not in loaded("triggerer", plugin)[1]


@pytest.mark.parametrize("command", ["dag-processor", "api-server", "triggerer", "standalone"])
def test_other_processes_have_none(command):
    assert loaded(command, AIRFLOW__CORE__LAZY_LOAD_PLUGINS="False")[0] == []


def test_a_scheduler_that_forks_no_tasks_has_none():
    assert loaded("scheduler", AIRFLOW__CORE__EXECUTOR="CeleryExecutor")[0] == []


def test_a_task_of_a_celery_worker_that_loads_plugins_late_imports_what_it_needs_itself():
    assert loaded("celery worker")[0] == []


def test_a_library_that_is_not_installed_is_left_out(tmp_path):
    blocked = "import sys\nsys.modules['openpyxl'] = None\n"
    (tmp_path / "sitecustomize.py").write_text(blocked)
    environment = ENVIRONMENT | {"PYTHONPATH": os.fspath(tmp_path)}
    done = run(sys.executable, "-c", LOAD, "scheduler", PLUGIN, cwd=ROOT, env=environment)
    assert "sklearn.metrics" in json.loads(done.stdout)[0]
