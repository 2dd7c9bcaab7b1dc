"""What `make bundle` and `make packages` in an MWAA project build, refuse and find."""

import io
import os
import re
import shutil
import string
import zipfile
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kedro.config import OmegaConfigLoader

import check_secrets
from mwaa import bundle, check, sources
from tests.conftest import ENVIRONMENT, ROOT, answers, edit, kedro_new, run
from tests.standins.planted import LEFT_BEHIND, LEFT_OUT, NEEDED, SECRET, plant, plant_needed

CONSTRAINTS = ROOT / "layers" / "platforms" / "mwaa" / "mwaa" / "constraints"
DAG = "dags/space_flights_airflow_dag.py"


def test_comments_in_credentials_are_dropped(tmp_path):
    path = tmp_path / "credentials.yml"
    path.write_text("# key: TOP-SECRET\nwarehouse:\n  con: ${oc.env:URL}  # TOP-SECRET\n")
    assert bundle.without_comments(path) == b"warehouse:\n  con: ${oc.env:URL}\n"


@given(st.dictionaries(st.text(string.ascii_lowercase, min_size=1), st.binary(max_size=50)))
def test_an_archive_depends_only_on_names_and_bytes(content):
    first = bundle.archive(content)
    with zipfile.ZipFile(io.BytesIO(first)) as written:
        assert {name: written.read(name) for name in written.namelist()} == content
    assert bundle.archive(dict(content)) == first


def test_secret_is_refused_before_anything_is_read(monkeypatch):
    monkeypatch.setattr(check_secrets, "problems", lambda: ["conf/base/globals.yml:1: key"])
    with pytest.raises(SystemExit, match="^Secrets would leave this machine:\nconf/base/globals"):
        bundle.main()


def test_fingerprint_tells_the_names_and_the_content_of_all_but_local_files(monkeypatch, tmp_path):
    monkeypatch.setattr(sources, "PROJECT", tmp_path)
    for name in sources.SOURCES:
        path = tmp_path / name if Path(name).suffix else tmp_path / name / "base" / "file.yml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    seen = [sources.fingerprint()]
    for path in sorted(path for path in tmp_path.rglob("*") if path.is_file()):
        path.write_text("changed")
        seen.append(sources.fingerprint())
    path.rename(path.with_name("other.yml"))
    seen.append(sources.fingerprint())
    assert len(set(seen)) == len(seen) == len(sources.SOURCES) + 2
    (tmp_path / "conf" / "local").mkdir()
    (tmp_path / "conf" / "local" / "credentials.yml").touch()
    assert sources.fingerprint() == seen[-1]


@pytest.mark.parametrize(
    "default_run_env, shipped",
    [
        ("local", {"airflow", "base", "dev"}),
        ("dev", {"airflow", "base"}),
        ("base", {"airflow", "base", "dev"}),
    ],
)
def test_the_base_environment_is_shipped_and_those_of_this_machine_are_not(
    default_run_env, shipped, tmp_path, monkeypatch
):
    for env in ("airflow", "base", "dev", "local"):
        (folder := tmp_path / "conf" / env).mkdir(parents=True)
        (folder / "catalog.yml").touch()
    arguments = {"base_env": "base", "default_run_env": default_run_env}
    monkeypatch.setattr(bundle, "PROJECT", tmp_path)
    monkeypatch.setattr(bundle, "settings", SimpleNamespace(CONFIG_LOADER_ARGS=arguments))
    monkeypatch.setattr(bundle, "config_loader", lambda: OmegaConfigLoader(tmp_path / "conf"))
    assert bundle.read_configuration().keys() == {f"conf/{env}/catalog.yml" for env in shipped}


def test_requirements_that_the_wheel_does_not_have_are_listed_beside_it(tmp_path, monkeypatch):
    monkeypatch.setattr(bundle, "PROJECT", tmp_path)
    lines = ["# Ours", "kedro~=1.7", "Kedro_Datasets[x]", "--pre", "s3fs>=2025  # for S3"]
    (tmp_path / "requirements.txt").write_text("\n".join(lines))
    metadata = (
        b"Name: shop\nRequires-Dist: kedro ~=1.7\nRequires-Dist: kedro-datasets>=9 ; extra=='a'\n"
    )
    wheel = {"shop/__init__.py": b"", "shop-1.dist-info/METADATA": metadata}
    assert bundle.required_besides(wheel) == ["s3fs>=2025  # for S3"]


@pytest.mark.parametrize(
    "demand, found",
    [
        ("pandas<3", [("pandas", "3.0.5")]),
        ("Apache_Airflow==3.2.0", [("apache-airflow", "3.3.1")]),
        ("pandas>=2", []),
        ("unknown-package==1", []),
        ('pandas<3; python_version < "3.12"', []),
    ],
)
def test_conflict_with_a_pin_of_mwaa_is_found(demand, found, tmp_path):
    requirements = tmp_path / "requirements.txt"
    requirements.write_text(f"# The requirements.\n--pre\n{demand}  # old\n")
    conflicts = check.conflicts(requirements, CONSTRAINTS / "3.3.1.txt")
    assert [(name, pin) for _, name, pin in conflicts] == found


@pytest.fixture(scope="module")
def created(template, tmp_path_factory):
    """An MWAA project whose storage is a bucket, and its bundle."""
    folder = tmp_path_factory.mktemp("mwaa")
    kedro_new(template, "spaceflights-mwaa", folder, answers())
    project = folder / "space-flights"
    edit(project / "conf/airflow/globals.yml", "storage: data", "storage: s3://flights/data")
    make("bundle", project)
    return project


@pytest.fixture
def project(created, tmp_path):
    """A fresh copy of the project with its bundle."""
    return shutil.copytree(created, tmp_path / "space-flights")


def make(verb, project, check=True, **environment):
    """Call a verb of the project."""
    return run("make", verb, cwd=project, check=check, env=ENVIRONMENT | environment)


def contents(folder: Path) -> dict[str, bytes]:
    """The files in a folder, and those in its archives, at any depth."""
    found = {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }
    pending = list(found)
    while pending:
        name = pending.pop()
        if zipfile.is_zipfile(io.BytesIO(found[name])):
            with zipfile.ZipFile(io.BytesIO(found[name])) as archive:
                inner = {f"{name}/{entry}": archive.read(entry) for entry in archive.namelist()}
            found |= inner
            pending += inner
    return found


@pytest.mark.slow
def test_bundle_has_the_wheel_the_configuration_and_the_dags(created):
    package = "plugins.zip/space_flights-0.1.0-py3-none-any.whl/space_flights"
    conf = "plugins.zip/conf-space_flights.zip/conf"
    bundled = contents(created / "dist" / "mwaa")
    assert {name for name in bundled if ".whl/" not in name} == {
        "bundle.json",
        "dags/.airflowignore",
        "dags/space_flights_airflow/__init__.py",
        "dags/space_flights_airflow/dag.py",
        "dags/space_flights_airflow/kedro_internals.py",
        "dags/space_flights_airflow/model.py",
        "dags/space_flights_airflow/run.py",
        "dags/space_flights_airflow/storage.py",
        DAG,
        "plugins.zip",
        "plugins.zip/conf-space_flights.zip",
        f"{conf}/airflow/catalog.yml",
        f"{conf}/airflow/catalog_spaceflights.yml",
        f"{conf}/airflow/credentials.yml",
        f"{conf}/airflow/globals.yml",
        f"{conf}/base/catalog.yml",
        f"{conf}/base/globals.yml",
        f"{conf}/base/parameters.yml",
        "plugins.zip/logging.yml",
        "plugins.zip/preload.py",
        "plugins.zip/space_flights-0.1.0-py3-none-any.whl",
        "requirements.txt",
        "startup.sh",
    }
    assert f"{package}/pipelines/data_science/nodes.py" in bundled
    assert bundled["requirements.txt"].decode().splitlines()[1:] == [
        "/usr/local/airflow/plugins/space_flights-0.1.0-py3-none-any.whl"
    ]
    assert len(bundled["plugins.zip"]) < 100_000


@pytest.mark.slow
def test_page_on_mwaa_lists_every_file_of_the_bundle(created):
    page = (ROOT / "docs" / "mwaa.md").read_text().replace("my_project", "space_flights")
    listed = re.findall(r"(?m)^(dist/mwaa/\S+) \(", page)
    bundled = [path for path in created.glob("dist/mwaa/**/*") if path.is_file()]
    assert sorted(listed) == sorted(path.relative_to(created).as_posix() for path in bundled)


@pytest.mark.slow
def test_same_files_give_the_same_bytes_elsewhere_and_later(project):
    before = contents(project / "dist")
    shutil.rmtree(project / "dist")
    for path in project.rglob("*.py"):
        path.chmod(0o755)
        os.utime(path, (0, 1_000_000_000))
    make("bundle", project)
    assert contents(project / "dist") == before


@pytest.mark.slow
def test_bundle_has_what_the_code_needs_and_no_planted_secret(project):
    plant_needed(project)
    plant(project, [*LEFT_BEHIND, *LEFT_OUT])
    with (project / "conf/airflow/credentials.yml").open("a") as file:
        file.write(f"# whoever reads this: it was {SECRET}\n")
    make("bundle", project)
    bundled = contents(project / "dist")
    package = "mwaa/plugins.zip/space_flights-0.1.0-py3-none-any.whl"
    needed = [name.replace("src", package, 1) for name in NEEDED if name.startswith("src/")]
    assert [name for name in needed if name not in bundled] == []
    assert {"mwaa/dags/query.sql", "mwaa/dags/team.yaml"} <= set(bundled)
    assert [name for name, content in bundled.items() if SECRET.encode() in content] == []


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        "conf/airflow/credentials_aws.yaml",
        "conf/base/credentials/aws.yml",
        "dags/credentials.json",
        "src/space_flights/credentials.json",
    ],
)
def test_credentials_that_are_not_references_are_refused_and_the_bundle_stays(name, project):
    before = contents(project / "dist")
    plant(project, [name])
    refused = make("bundle", project, check=False)
    assert f"{name}:1: bucket.password is not a reference" in refused.stderr
    assert refused.returncode and SECRET not in refused.stdout + refused.stderr
    assert contents(project / "dist") == before


@pytest.mark.slow
@pytest.mark.parametrize(
    "file, old, new, said",
    [
        ("conf/airflow/globals.yml", "s3://flights/data", "data", "storage is 'data'. Set it to"),
        ("conf/airflow/globals.yml", "s3://flights/data", "s3://", "storage is 's3://'. Set it to"),
        (DAG, "schedule=None", "schedule='daily'", "Airflow does not load dags/"),
        ("pyproject.toml", "space_flights.__version__", "space_flights.no", "cannot be built"),
    ],
)
def test_project_that_cannot_work_on_mwaa_is_refused(file, old, new, said, project):
    before = contents(project / "dist")
    edit(project / file, old, new)
    refused = make("bundle", project, check=False)
    assert refused.returncode and said in refused.stderr
    assert contents(project / "dist") == before


@pytest.mark.slow
def test_project_without_a_dag_is_refused(project):
    (project / DAG).unlink()
    refused = make("bundle", project, check=False)
    assert refused.returncode and "dags/ holds no DAG: run `make dag`" in refused.stderr


@pytest.mark.slow
@pytest.mark.parametrize("verb", ["plan", "deploy"])
def test_stale_or_missing_bundle_is_refused(verb, project):
    with (project / "src/space_flights/pipelines/reporting/nodes.py").open("a") as file:
        file.write("# edited\n")
    stale = make(verb, project, check=False)
    assert stale.returncode and "has changed since dist/mwaa/ was built: run `make bundle`" in (
        stale.stderr
    )
    shutil.rmtree(project / "dist")
    missing = make(verb, project, check=False)
    assert missing.returncode and "no bundle in dist/mwaa/: run `make bundle`" in missing.stderr


@pytest.mark.slow
@pytest.mark.parametrize("version", ["3.3.1", "3.2.1"])
def test_requirements_resolve_under_mwaas_constraints(version, created):
    checked = make("packages", created, MWAA_AIRFLOW=version)
    pins = set((CONSTRAINTS / f"{version}.txt").read_text().splitlines())
    [pandas] = [line for line in checked.stdout.splitlines() if line.startswith("pandas==")]
    assert pandas in pins


@pytest.mark.slow
@pytest.mark.parametrize(
    "requirement, said",
    [
        ("pandas<3", ["  pandas<3: MWAA has pandas 3.0.5"]),
        ("great-expectations==1.0.0", ["great-expectations==1.0.0 depends on pandas", "pandas==3"]),
    ],
)
def test_requirement_that_mwaa_cannot_install_is_named(requirement, said, project):
    with (project / "requirements.txt").open("a") as file:
        file.write(f"{requirement}\n")
    refused = make("packages", project, check=False)
    assert refused.returncode and "for Airflow 3.3.1" in refused.stderr
    assert [part for part in said if part not in refused.stderr] == []


@pytest.mark.slow
def test_unknown_version_of_mwaa_is_refused(created):
    refused = make("packages", created, check=False, MWAA_AIRFLOW="2.0.0")
    assert "has no list for Airflow 2.0.0, only for 3.2.1, 3.3.1." in refused.stderr
