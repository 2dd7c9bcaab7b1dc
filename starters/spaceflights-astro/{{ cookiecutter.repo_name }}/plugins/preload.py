"""Import slow libraries once, in the scheduler, from which LocalExecutor forks its tasks.

Tasks then start without importing them. Other executors' tasks start as ever.
"""

import contextlib
import importlib
import inspect
import sys

from airflow.configuration import conf

# Add those that your nodes and datasets need; what is not installed is left out.
LIBRARIES = [
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

if (
    sys.platform == "linux"
    and "scheduler" in sys.argv
    and conf.get("core", "executor") == "LocalExecutor"
    and not conf.getboolean("core", "execute_tasks_new_python_interpreter")
):
    for library in LIBRARIES:
        with contextlib.suppress(ImportError):
            importlib.import_module(library)
    inspect.stack()  # Kedro's settings need it, and only the first one is slow
