"""Amazon MWAA without AWS: a bucket, /usr/local/airflow, and Airflow with a Celery worker.

Modelled on images/airflow/ of https://github.com/aws/amazon-mwaa-docker-images: its containers
source startup.sh, install the requirements and start Airflow, in this order and with the same
environment.
"""

import io
import os
import re
import secrets
import shutil
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from local_airflow import LocalAirflow, free_ports, start
from tests.conftest import ROOT, find_python, run
from tests.standins.servers import Server

HOME = Path("/usr/local/airflow")
VERSION = "3.3.1"
CONSTRAINTS = ROOT / "layers" / "platforms" / "mwaa" / "mwaa" / "constraints"

# The user's startup.sh and configuration options may change these,
OPINIONATED = {
    "AIRFLOW_CONN_AWS_DEFAULT": "aws://",
    "AIRFLOW__CORE__EXECUTE_TASKS_NEW_PYTHON_INTERPRETER": "True",
    "AIRFLOW__SCHEDULER__SCHEDULE_AFTER_TASK_EXECUTION": "False",
    "AIRFLOW__SCHEDULER__TASK_QUEUED_TIMEOUT": "1800.0",
    "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
}
# but not these,
ESSENTIAL = {
    "AIRFLOW__CELERY__WORKER_ENABLE_REMOTE_CONTROL": "False",
    "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
    "AIRFLOW__CORE__MULTI_TEAM": "False",
    "AIRFLOW__EXECUTION_API__JWT_EXPIRATION_TIME": "86400",
    "AIRFLOW__SCHEDULER__STANDALONE_DAG_PROCESSOR": "True",
    "MWAA_AIRFLOW_COMPONENT": "hybrid",  # a container with scheduler and worker
    "MWAA_COMMAND": "hybrid",
}
# nor these, if the container has them.
PROTECTED = {
    "AIRFLOW_HOME",
    "AIRFLOW_VERSION",
    "AIRFLOW__API__BASE_URL",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_DEFAULT_REGION",
    "AWS_EXECUTION_ENV",
    "AWS_REGION",
    "PYTHONPATH",
    "PYTHONUNBUFFERED",
}
# An `exit` in startup.sh ends only the script; when bash itself ends, no variables are kept.
SOURCE_STARTUP = """
keep() { env --null > "$0"; exit; }
shopt -s expand_aliases
alias exit=keep
source "$HOME/startup/startup.sh"
keep
"""


def install_airflow(folder: Path, version: str = VERSION) -> Path:
    """Create a virtual environment with what MWAA's image has, and return its bin folder."""
    run("uv", "venv", "--quiet", "--seed", "--python", find_python("3.12"), folder, cwd=ROOT)
    image = [f"apache-airflow[celery,postgres,statsd]=={version}"]
    image += ["apache-airflow-providers-amazon", "aiobotocore"]
    image += ["redis"]  # in place of SQS
    install = ["uv", "pip", "install", "--quiet", "--compile-bytecode", "--python", folder]
    run(*install, "--constraint", CONSTRAINTS / f"{version}.txt", *image, cwd=ROOT)
    return folder / "bin"


class Mwaa:
    """An environment of Amazon MWAA in /usr/local/airflow, which exists inside the block.

    Args:
        bin: the executables of an Airflow, from `install_airflow`. Requirements are installed
            there, so each environment needs its own.
        s3: a client for the bucket.
        environment: what the service gives its containers: the execution role's credentials.
        version: that Airflow's version.
    """

    def __init__(
        self, bin: Path, s3: Any, environment: Mapping[str, str], version: str = VERSION
    ) -> None:
        self.bin, self.s3, self.version = bin, s3, version
        self.container = {
            "AIRFLOW_HOME": str(HOME),
            "AIRFLOW_VERSION": version,
            "HOME": str(HOME),
            "PATH": f"{bin}:/usr/local/bin:/usr/bin:/bin",
            "PYTHONPATH": "/python",  # where the image keeps its own modules
            "PYTHONUNBUFFERED": "1",
            **environment,
        }
        self.essential = {
            **ESSENTIAL,
            "AIRFLOW__API_AUTH__JWT_SECRET": secrets.token_hex(),
            "AWS_EXECUTION_ENV": f"Amazon_MWAA_{version.replace('.', '')}",
        }
        self.environment = {**self.container, **OPINIONATED, **self.essential}

    def __enter__(self) -> "Mwaa":
        try:
            HOME.mkdir()
        except FileExistsError:
            raise RuntimeError(
                f"{HOME} already exists. If it belongs to an Airflow on this machine, keep it. If "
                "tests that were killed left it, remove it."
            ) from None
        except PermissionError:
            raise RuntimeError(f"Only root may create {HOME}, where MWAA has it.") from None
        return self

    def __exit__(self, *_: object) -> None:
        shutil.rmtree(HOME)

    def update(self, settings: Mapping[str, Any]) -> None:
        """Do what an update of the environment does, given settings as in `GetEnvironment`.

        Args:
            settings: SourceBucketArn, DagS3Path, and optionally PluginsS3Path,
                RequirementsS3Path, StartupScriptS3Path, an object version for each of them,
                and AirflowConfigurationOptions.
        """
        self.settings = settings
        self.sync_dags()
        self.sync_files()
        self.environment = self.source_startup()
        self.install_requirements()

    def sync_dags(self) -> None:
        """Sync dags/ with the bucket. MWAA does that all the time."""
        bucket = self.settings["SourceBucketArn"].rpartition(":::")[2]
        prefix = self.settings["DagS3Path"].strip("/") + "/"
        pages = self.s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
        keys = [entry["Key"] for page in pages for entry in page.get("Contents", [])]
        wanted = {HOME / "dags" / key.removeprefix(prefix): key for key in keys if key[-1] != "/"}
        for path, key in wanted.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            self.s3.download_file(bucket, key, str(path))
        for path in (HOME / "dags").rglob("*"):
            if path.is_file() and path not in wanted and "__pycache__" not in path.parts:
                path.unlink()

    def sync_files(self) -> None:
        """Lay out plugins.zip, requirements.txt and startup.sh, in the versions in the settings."""
        for folder in ("plugins", "requirements", "startup"):
            shutil.rmtree(HOME / folder, ignore_errors=True)
            (HOME / folder).mkdir()
        if (plugins := self._object("Plugins")) is not None:
            zipfile.ZipFile(io.BytesIO(plugins)).extractall(HOME / "plugins")
        if (requirements := self._object("Requirements")) is not None:
            (HOME / "requirements" / "requirements.txt").write_bytes(requirements)
        if (startup := self._object("StartupScript")) is not None:
            (HOME / "startup" / "startup.sh").write_bytes(startup)

    def _object(self, name: str) -> bytes | None:
        if not (key := self.settings.get(f"{name}S3Path")):
            return None
        bucket = self.settings["SourceBucketArn"].rpartition(":::")[2]
        version = self.settings.get(f"{name}S3ObjectVersion")
        which = {"VersionId": version} if version else {}
        return self.s3.get_object(Bucket=bucket, Key=key, **which)["Body"].read()

    def source_startup(self) -> dict[str, str]:
        """Source startup.sh, and return the variables that Airflow and its tasks will have."""
        exports: dict[str, str] = {}
        options = {
            f"AIRFLOW__{name.upper().replace('.', '__', 1)}": value
            for name, value in self.settings.get("AirflowConfigurationOptions", {}).items()
        }
        if (HOME / "startup" / "startup.sh").is_file():
            kept = HOME / ".exports"
            environment = {**self.container, **OPINIONATED, **options, **self.essential}
            bash = ["bash", "-c", SOURCE_STARTUP, kept]
            done = run(*bash, cwd=HOME, env=environment, timeout=295, check=False)
            if not kept.is_file():
                raise RuntimeError(f"startup.sh ended bash:\n{done.stdout}\n{done.stderr}")
            exports = dict(line.split("=", 1) for line in kept.read_text().split("\0") if line)
            kept.unlink()
        protected = {key: value for key, value in self.container.items() if key in PROTECTED}
        exported = {**self.container, **OPINIONATED, **exports}
        return {**exported, **options, **protected, **self.essential}

    def install_requirements(self) -> str:
        """Install requirements.txt, and return pip's output. If that fails, so does the test."""
        requirements = HOME / "requirements" / "requirements.txt"
        if not requirements.is_file():
            return ""
        if re.search("-c |--constraint ", requirements.read_text()):
            raise RuntimeError("A constraint in requirements.txt would override MWAA's.")
        constraints = CONSTRAINTS / f"{self.version}.txt"
        pip = [self.bin / "python", "-m", "pip", "install", "--constraint", constraints]
        environment = {**self.environment, **index_variables()}
        return run(*pip, "--requirement", requirements, cwd=HOME, env=environment).stdout

    @contextmanager
    def airflow(
        self, executor: str, database: Mapping[str, str], cwd: Path
    ) -> Iterator[LocalAirflow]:
        """Run Airflow with this executor: CeleryExecutor, like MWAA, or LocalExecutor.

        Redis stands in for SQS.

        Args:
            database: the variable that points Airflow to an empty one.
            cwd: where Airflow is started.
        """
        [broker] = free_ports(1)
        environment = {
            **self.environment,
            **database,
            "AIRFLOW__CORE__EXECUTOR": executor,
            "AIRFLOW__CELERY__BROKER_URL": f"redis://127.0.0.1:{broker}/0",
            "AIRFLOW__CELERY__RESULT_BACKEND": f"redis://127.0.0.1:{broker}/1",
            "AIRFLOW__CELERY__WORKER_CONCURRENCY": "2",
        }
        components = ["scheduler", "dag-processor", "api-server"]
        with ExitStack() as stack:
            if executor == "CeleryExecutor":
                components.append("celery worker")
                redis = ["redis-server", f"--port {broker}", "--bind 127.0.0.1", "--save ''"]
                stack.enter_context(Server(redis, broker, HOME / "redis"))
            running = LocalAirflow(HOME, HOME / "dags", cwd, environment, {}, start(components))
            yield stack.enter_context(running)


def index_variables() -> dict[str, str]:
    """The variables that let pip reach a package index from here, whatever HOME is."""
    reach = re.compile("PIP_|SSL_CERT_|REQUESTS_CA_BUNDLE|.*_PROXY$", re.IGNORECASE)
    found = {key: value for key, value in os.environ.items() if reach.match(key)}
    user = {"XDG_CONFIG_HOME": Path.home() / ".config", "XDG_CACHE_HOME": Path.home() / ".cache"}
    return {**{key: str(path) for key, path in user.items()}, **found}
