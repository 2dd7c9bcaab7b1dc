"""Import what starts tasks' pods, in the same processes in which preload.py imports libraries."""

import sys

from airflow.configuration import conf

local = "scheduler" in sys.argv and conf.get("core", "executor") == "LocalExecutor"
worker = sys.argv[1:3] == ["celery", "worker"] and not conf.getboolean("core", "lazy_load_plugins")

if sys.platform == "linux" and (local or worker):
    import airflow.providers.cncf.kubernetes.operators.pod  # noqa: F401
