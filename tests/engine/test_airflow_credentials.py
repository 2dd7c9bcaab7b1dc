"""Credentials are read from Airflow's connections and variables."""

import json
import sys

import pytest
from airflow.sdk import Connection
from flights.airflow_credentials import RESOLVERS, AirflowConfigLoader
from omegaconf.errors import UnsupportedInterpolationType


@pytest.fixture
def warehouse(monkeypatch):
    found = Connection(
        conn_id="warehouse",
        conn_type="postgres",
        login="me",
        password="pa/ss",
        host="db",
        port=5432,
        schema="sales",
        extra=json.dumps({"token": "abc", "empty": ""}),
    )
    monkeypatch.setattr(Connection, "get", {"warehouse": found}.__getitem__)


@pytest.mark.parametrize(
    "field, value",
    [
        ("login", "me"),
        ("password", "pa/ss"),
        ("host", "db"),
        ("port", 5432),
        ("schema", "sales"),
        ("token", "abc"),
        ("empty", ""),
        ("uri", "postgres://me:pa%2Fss@db:5432/sales?token=abc&empty="),
    ],
)
def test_field_of_a_connection_is_read(warehouse, field, value):
    assert RESOLVERS["airflow.connection"]("warehouse", field) == value


def test_missing_field_is_named(warehouse):
    with pytest.raises(KeyError, match="'warehouse' has no field 'tokn' in its extra"):
        RESOLVERS["airflow.connection"]("warehouse", "tokn")


@pytest.mark.parametrize(
    "resolver, arguments",
    [("airflow.connection", ("warehouse", "login")), ("airflow.variable", ("token",))],
)
def test_without_airflow_the_error_names_the_alternative(resolver, arguments, monkeypatch):
    monkeypatch.setitem(sys.modules, "airflow.sdk", None)
    with pytest.raises(RuntimeError, match=r"Refer to the environment instead: \$\{oc.env:NAME\}$"):
        RESOLVERS[resolver](*arguments)


def test_only_credentials_are_read_from_airflow(warehouse, tmp_path):
    (tmp_path / "base").mkdir()
    text = "warehouse: {con: '${airflow.connection:warehouse,password}'}"
    for kind in ("credentials", "parameters", "catalog", "globals"):
        (tmp_path / "base" / f"{kind}.yml").write_text(text if kind != "globals" else "{}")
    loader = AirflowConfigLoader(str(tmp_path), base_env="base", default_run_env="base")
    for kind in ("parameters", "credentials", "catalog"):
        if kind == "credentials":
            assert loader[kind] == {"warehouse": {"con": "pa/ss"}}
        else:
            with pytest.raises(UnsupportedInterpolationType, match="airflow.connection"):
                loader[kind]
