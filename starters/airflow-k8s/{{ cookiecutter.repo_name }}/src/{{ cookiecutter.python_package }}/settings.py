"""Project settings: https://docs.kedro.org/en/stable/configure/configuration_basics/"""

from .airflow_credentials import AirflowConfigLoader

CONFIG_LOADER_CLASS = AirflowConfigLoader
CONFIG_LOADER_ARGS = {
    "base_env": "base",
    "default_run_env": "local",
}
