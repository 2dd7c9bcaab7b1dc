import os
from pathlib import Path

import pytest
from kedro.framework.session import KedroServiceSession
from kedro.framework.startup import bootstrap_project

PROJECT = Path(__file__).resolve().parents[1]
os.environ["DO_NOT_TRACK"] = "1"  # tests send no telemetry
os.environ.setdefault("AIRFLOW_HOME", str(PROJECT / ".airflow"))
os.environ["AIRFLOW__CORE__LOAD_EXAMPLES"] = "False"  # before Airflow 3.3 a DagBag holds them


@pytest.fixture(scope="session")
def load_catalog():
    """A function that loads the catalog of an environment."""
    bootstrap_project(PROJECT)

    def load(env="base"):
        session = KedroServiceSession.create(project_path=PROJECT, env=env)
        return session.load_context().catalog

    return load
