"""The shared part of conf/ contains no secrets."""

from pathlib import Path

import pytest
import yaml

CONF = Path(__file__).resolve().parents[1] / "conf"
SHARED = sorted(set(CONF.rglob("credentials*")) - set((CONF / "local").rglob("*")))


def values(node, key=""):
    """The values in nested blocks, with their keys joined by dots."""
    if isinstance(node, dict):
        return [pair for name, inner in node.items() for pair in values(inner, f"{key}.{name}")]
    return [(key.lstrip("."), node)]


@pytest.mark.parametrize("path", SHARED, ids=lambda path: path.relative_to(CONF).as_posix())
def test_credentials_are_references(path):
    found = values(yaml.safe_load(path.read_text()) or {})
    plain = [key for key, value in found if not str(value).startswith("${")]
    assert not plain, (
        f"{path.relative_to(CONF.parent)} contains the values of {plain}: move them to conf/local, "
        "or to an Airflow connection, and refer to that with ${airflow.connection:...}"
    )
