import pytest
from kedro.framework.project import pipelines


@pytest.mark.parametrize("env", ["base", "airflow"])
def test_what_the_pipelines_read_is_in_the_configuration(load_catalog, env):
    catalog = load_catalog(env)
    missing = [name for name in sorted(pipelines["__default__"].inputs()) if name not in catalog]
    assert not missing, f"not in conf/base: {missing}"
