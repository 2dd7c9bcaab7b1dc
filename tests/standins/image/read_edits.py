"""Print what the project's package and parameters say after the test's edits."""

from pathlib import Path

from kedro.framework.session import KedroServiceSession
from kedro.framework.startup import bootstrap_project

bootstrap_project(Path.cwd())

import image_demo  # noqa: E402

session = KedroServiceSession.create(project_path=Path.cwd(), env="airflow")
print(image_demo.edited, session.load_context().params["edited"], sep=", ")
