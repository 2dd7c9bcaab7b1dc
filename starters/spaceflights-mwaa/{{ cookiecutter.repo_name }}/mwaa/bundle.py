"""Build what Amazon MWAA needs into dist/mwaa/: `make bundle`.

The same files of the project give the same bytes. conf/local and data/ stay here.
"""

import io
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Mapping
from itertools import chain, product
from pathlib import Path

import fsspec
import yaml
from kedro.framework.project import settings
from kedro.framework.startup import bootstrap_project
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import check_secrets
from mwaa.configuration import config_loader, storage
from mwaa.sources import BUNDLE, PROJECT, files, fingerprint, size

PLUGINS_ON_MWAA = "/usr/local/airflow/plugins"
# The kinds of files that MWAA gets.
KINDS = re.compile(r"(\.(csv|html|j2|jinja2?|json|md|py|sql|toml|txt|whl|ya?ml)|airflowignore)$")
# The files beside the package that its metadata may name.
NEEDED = re.compile(r"pyproject\.toml|(setup\.|readme|licen[cs]e|requirements)[\w.-]*", re.I)


def main() -> None:
    """Write dist/mwaa/ anew, or leave it as it was and say why."""
    check_secrets.main()
    bucket, _ = storage()
    sources = fingerprint()
    package = bootstrap_project(PROJECT).package_name
    dags, plugins = read("dags"), read("plugins")
    configuration = read_configuration()
    print("Building the wheel")
    wheel_name, wheel = build_wheel()
    plugins |= {
        wheel_name: archive(wheel),
        f"conf-{package}.zip": archive(configuration),
        "logging.yml": (PROJECT / "conf" / "airflow" / "logging.yml").read_bytes(),
    }
    requirements = (
        "# The project, from plugins.zip, and what it requires. MWAA adds its own constraints.\n"
        f"{PLUGINS_ON_MWAA}/{wheel_name}\n"
    ) + "".join(f"{line}\n" for line in required_besides(wheel))
    bundle = {
        "plugins.zip": archive(plugins),
        "requirements.txt": requirements.encode(),
        "startup.sh": (PROJECT / "mwaa" / "startup.sh").read_bytes(),
        "bundle.json": json.dumps({"bucket": bucket, "sources": sources}).encode(),
        **{f"dags/{name}": content for name, content in dags.items()},
    }
    BUNDLE.parent.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=BUNDLE.parent) as folder:
        new = Path(folder) / BUNDLE.name
        for name, content in bundle.items():
            (new / name).parent.mkdir(parents=True, exist_ok=True)
            (new / name).write_bytes(content)
        print("Loading the DAGs")
        load_dags(new / "dags")
        shutil.rmtree(BUNDLE, ignore_errors=True)
        new.rename(BUNDLE)
    for name, content in bundle.items():
        limit = ", of 1 GB that MWAA takes" if name == "plugins.zip" else ""
        print(f"dist/mwaa/{name} ({size(len(content))}{limit})")


def read(folder: str) -> dict[str, bytes]:
    """Read the files below a folder of the project."""
    found = files(PROJECT / folder)
    return {name: path.read_bytes() for name, path in found if KINDS.search(name)}


def read_configuration() -> dict[str, bytes]:
    """Read the files that a task's configuration loader would: no conf/local, no airflow.yml.

    The DAG file has what airflow.yml says, so that its change needs no update of the environment.
    """
    conf = PROJECT / "conf"
    given = settings.CONFIG_LOADER_ARGS
    local = {"local", given.get("default_run_env", "local")} - {given.get("base_env", "base")}
    folders = [folder.as_posix() for folder in conf.iterdir() if folder.name not in local]
    patterns = {**config_loader().config_patterns, "airflow": []}
    found = set()
    for folder, pattern in product(folders, chain(*patterns.values())):
        found |= set(fsspec.filesystem("file").glob(f"{folder}/{pattern}"))
    return {
        f"conf/{name}": without_comments(path) if "credentials" in name else path.read_bytes()
        for name, path in files(conf)
        if str(path) in found and path.suffix in (".yml", ".yaml", ".json")
    }


def without_comments(path: Path) -> bytes:
    """Read a YAML file without its comments, which may tell a secret."""
    return str(yaml.safe_dump(yaml.safe_load(path.read_bytes()))).encode()


def build_wheel() -> tuple[str, dict[str, bytes]]:
    """Build the project's wheel from a clean copy: its name, and its files by name."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "project"
        ignored = shutil.ignore_patterns(".*", "__pycache__", "*.egg-info")
        shutil.copytree(PROJECT / "src", copy / "src", ignore=ignored)
        for path in PROJECT.iterdir():
            if path.is_file() and NEEDED.fullmatch(path.name):
                shutil.copy(path, copy)
        command = [sys.executable, "-m", "build", "--wheel", "--outdir", folder, str(copy)]
        built = subprocess.run(command, capture_output=True, text=True)
        if built.returncode:
            sys.exit(f"No bundle: the wheel cannot be built.\n{built.stdout}{built.stderr}")
        [path] = Path(folder).glob("*.whl")
        with zipfile.ZipFile(path) as wheel:
            return path.name, {name: wheel.read(name) for name in wheel.namelist()}


def required_besides(wheel: Mapping[str, bytes]) -> list[str]:
    """List the lines of requirements.txt of which the wheel's own requirements lack the package."""
    metadata = next(wheel[name] for name in wheel if name.endswith(".dist-info/METADATA")).decode()
    demands = re.findall("^Requires-Dist: (.+)$", metadata, re.MULTILINE)
    required = {canonicalize_name(Requirement(demand).name) for demand in demands}
    lines = (PROJECT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    named = [(line, re.match(r"\w[\w.-]*", line)) for line in lines]
    return [line for line, name in named if name and canonicalize_name(name[0]) not in required]


def archive(content: Mapping[str, bytes]) -> bytes:
    """Make a zip of files that depends on their names and bytes only."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as written:
        for name, data in content.items():
            entry = zipfile.ZipInfo(name)  # of 1980, the first year that a zip knows
            entry.external_attr = 0o644 << 16
            written.writestr(entry, data, zipfile.ZIP_DEFLATED)
    return buffer.getvalue()


def load_dags(folder: Path) -> None:
    """Stop unless Airflow loads the DAGs in a folder."""
    with tempfile.TemporaryDirectory() as home:
        # Airflow reads these when it is imported.
        os.environ |= {"AIRFLOW_HOME": home, "AIRFLOW__LOGGING__LOGGING_LEVEL": "CRITICAL"}
        os.environ["AIRFLOW__CORE__LOAD_EXAMPLES"] = "False"
        try:
            from airflow.dag_processing.dagbag import DagBag
        except ImportError:  # before Airflow 3.2
            from airflow.models.dagbag import DagBag

        sys.dont_write_bytecode = True
        sys.path.append(str(folder))  # as Airflow does
        bag = DagBag(folder)
    if not bag.dags or bag.import_errors:
        said = "\n".join(bag.import_errors.values()) or "dags/ holds no DAG: run `make dag`"
        sys.exit(f"No bundle: Airflow does not load dags/.\n{said}")


if __name__ == "__main__":
    main()
