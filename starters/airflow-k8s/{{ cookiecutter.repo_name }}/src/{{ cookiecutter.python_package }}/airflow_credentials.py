"""Resolve the references to Airflow in conf/airflow/credentials.yml."""

import importlib
from collections.abc import Callable
from typing import Any

from kedro.config import OmegaConfigLoader
from omegaconf import OmegaConf


def connection(conn_id: str, field: str) -> Any:
    """Read a field of an Airflow connection.

    Args:
        conn_id: the connection's id, in any of Airflow's secrets backends.
        field: login, password, host, port, schema, uri, or a key in the connection's extra.

    Raises:
        AirflowNotFoundException: there is no such connection.
        KeyError: the connection has no such field.
        RuntimeError: Airflow is not installed here.
    """
    found = airflow_sdk().Connection.get(conn_id)
    if field == "uri":
        return found.get_uri()
    if field in ("login", "password", "host", "port", "schema"):
        return getattr(found, field)
    if field not in found.extra_dejson:
        raise KeyError(f"the Airflow connection {conn_id!r} has no field {field!r} in its extra")
    return found.extra_dejson[field]


def variable(key: str) -> Any:
    """Read an Airflow variable.

    Raises:
        AirflowRuntimeError: there is no such variable.
        RuntimeError: Airflow is not installed here.
    """
    return airflow_sdk().Variable.get(key)


def airflow_sdk() -> Any:
    """Import Airflow, only when a credential is read."""
    try:
        return importlib.import_module("airflow.sdk")
    except ModuleNotFoundError:
        raise RuntimeError(
            "conf/airflow/credentials.yml refers to Airflow, which is not installed here. "
            "Refer to the environment instead: ${oc.env:NAME}"
        ) from None


RESOLVERS: dict[str, Callable[..., Any]] = {
    "airflow.connection": connection,
    "airflow.variable": variable,
}


class AirflowConfigLoader(OmegaConfigLoader):
    """Also reads credentials, but nothing else, from Airflow."""

    def __getitem__(self, key: str) -> dict[str, Any]:
        """Load the configuration ``key``, for `credentials` with the resolvers above."""
        if key != "credentials":
            return super().__getitem__(key)
        for name, resolver in RESOLVERS.items():
            OmegaConf.register_new_resolver(name, resolver, replace=True)
        try:
            return super().__getitem__(key)
        finally:
            for name in RESOLVERS:
                OmegaConf.clear_resolver(name)
