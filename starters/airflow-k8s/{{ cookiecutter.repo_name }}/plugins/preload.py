"""Import slow libraries once, in the process that tasks are forked from.

That is LocalExecutor's scheduler, or a Celery worker that loads plugins when it starts
(core.lazy_load_plugins is False). Tasks then start without importing them, and share the memory.
"""

import contextlib
import importlib
import inspect
import sys

from airflow.configuration import conf

# Add those that your nodes and datasets need; libraries that are not installed are skipped.
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

local = "scheduler" in sys.argv and conf.get("core", "executor") == "LocalExecutor"
worker = sys.argv[1:3] == ["celery", "worker"] and not conf.getboolean("core", "lazy_load_plugins")

if sys.platform == "linux" and (local or worker):
    for library in LIBRARIES:
        with contextlib.suppress(ImportError):
            importlib.import_module(library)
    inspect.stack()  # Kedro's settings call it, and only the first call is slow
