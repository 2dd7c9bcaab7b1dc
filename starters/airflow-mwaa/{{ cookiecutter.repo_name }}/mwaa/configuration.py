"""The project's configuration as its tasks load it on Airflow."""

import sys
from typing import Any

from kedro.framework.project import settings
from kedro.framework.startup import bootstrap_project

from mwaa.sources import PROJECT


def config_loader() -> Any:
    """Load the project's configuration as its tasks do on Airflow."""
    bootstrap_project(PROJECT)
    return settings.CONFIG_LOADER_CLASS(
        conf_source=str(PROJECT / "conf"), env="airflow", **settings.CONFIG_LOADER_ARGS
    )


def storage() -> tuple[str, str]:
    """Read where Airflow's data lives, as bucket and prefix; the prefix may be empty."""
    url = str(config_loader()["globals"].get("storage"))
    bucket, _, prefix = url.removeprefix("s3://").partition("/")
    if not url.startswith("s3://") or not bucket:
        sys.exit(
            f"conf/airflow/globals.yml: storage is {url!r}. Set it to s3://BUCKET/PREFIX: the "
            "workers of MWAA share no disk."
        )
    return bucket, prefix.strip("/")
