"""Import slow libraries once, in the process that Airflow forks its tasks from.

Tasks of LocalExecutor and CeleryExecutor then start without importing them. Remove this file if
the memory that they take in the scheduler or in the workers matters more to you.
"""

import contextlib
import importlib
import inspect
import sys

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

if sys.platform == "linux" and {"scheduler", "worker"} & set(sys.argv):
    for library in LIBRARIES:
        with contextlib.suppress(ImportError):
            importlib.import_module(library)
    inspect.stack()  # Kedro's settings need it, and only the first one is slow
