"""Servers that run on this machine while tests need them: S3, PostgreSQL, PgBouncer, Redis."""

import json
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from local_airflow import free_ports
from tests.conftest import BIN, run


class Server:
    """A process that listens on a port of 127.0.0.1, as a context manager.

    Args:
        command: what starts it.
        folder: its working directory, created if missing, with its log.

    Raises:
        RuntimeError: it stopped, or did not answer within a minute.
    """

    def __init__(self, command: Sequence[str | Path], port: int, folder: Path) -> None:
        self.command, self.port, self.folder = command, port, folder
        self.log = folder / f"{Path(command[0]).name}.log"

    def __enter__(self) -> "Server":
        self.folder.mkdir(parents=True, exist_ok=True)
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                self.command,
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        deadline = time.monotonic() + 60
        while not self.answers():
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.__exit__()
                raise RuntimeError(f"{self.command[0]} did not start:\n{self.log.read_text()}")
            time.sleep(0.1)
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()  # SeaweedFS would take 20 s to shut down
        self.process.wait()

    def answers(self) -> bool:
        """Return whether the server can be used."""
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0


class S3Server(Server):
    """An S3 with access keys: SeaweedFS, which checks signatures and keeps versions on disk.

    It is in us-east-1, and lacks `PutPublicAccessBlock`.

    Attributes:
        environment: the variables that give boto3 and s3fs full access to it.
    """

    def __init__(self, folder: Path) -> None:
        names = [f"{part}.port" for part in ("s3", "master", "volume", "filer")]
        names += [f"{name}.grpc" for name in names]
        ports = free_ports(len(names))
        listen = [f"-{name}={port}" for name, port in zip(names, ports, strict=True)]
        listen += ["-s3.port.iceberg=0", "-s3.port.lance=0"]
        limits = ["-volume.max=100", "-master.volumeSizeLimitMB=1024"]
        limits += ["-master.electionTimeout=1s"]  # not 10: it starts again in seconds
        command = [BIN / "weed", "server", f"-dir={folder}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1"]
        command += ["-s3", f"-s3.config={folder / 's3.json'}", *listen, *limits]
        super().__init__(command, ports[0], folder)
        self.url = f"http://127.0.0.1:{self.port}"
        self.environment = {
            "AWS_ACCESS_KEY_ID": "mwaa",
            "AWS_SECRET_ACCESS_KEY": secrets.token_hex(),
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_REGION": "us-east-1",
            "AWS_ENDPOINT_URL_S3": self.url,
            "NO_PROXY": "127.0.0.1",
            "no_proxy": "127.0.0.1",
        }
        self.client = boto3.client(
            "s3",
            endpoint_url=self.url,
            region_name="us-east-1",
            aws_access_key_id=self.environment["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=self.environment["AWS_SECRET_ACCESS_KEY"],
            config=Config(proxies={}, retries={"total_max_attempts": 1}),
        )

    def __enter__(self) -> "S3Server":
        keys = {
            "accessKey": self.environment["AWS_ACCESS_KEY_ID"],
            "secretKey": self.environment["AWS_SECRET_ACCESS_KEY"],
        }
        identity = {"name": "mwaa", "credentials": [keys], "actions": ["Admin"]}
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "s3.json").write_text(json.dumps({"identities": [identity]}))
        super().__enter__()
        return self

    def answers(self) -> bool:
        """Return whether an object can be written."""
        try:
            self.client.create_bucket(Bucket="is-it-ready")
            self.client.put_object(Bucket="is-it-ready", Key="probe", Body=b"1")
            self.client.delete_object(Bucket="is-it-ready", Key="probe")
            self.client.delete_bucket(Bucket="is-it-ready")
        except (BotoCoreError, ClientError):
            return False
        return True

    def create_bucket(self, name: str) -> None:
        """Create a bucket with versioning, which MWAA requires."""
        self.client.create_bucket(Bucket=name)
        enabled = {"Status": "Enabled"}
        self.client.put_bucket_versioning(Bucket=name, VersioningConfiguration=enabled)


AS_POSTGRES = ("setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups")


class PostgreSQL(Server):
    """Debian's PostgreSQL, as its package's user: it refuses to run as root."""

    def __init__(self) -> None:
        [port] = free_ports(1)
        self.bin = max(Path("/usr/lib/postgresql").glob("*/bin"))
        folder = Path(tempfile.mkdtemp(prefix="postgresql-"))  # that user cannot enter tmp_path
        options = [f"--port={port}", "--listen-addresses=127.0.0.1", "--unix-socket-directories="]
        options += ["--max-connections=300", "--fsync=off"]
        command = [*AS_POSTGRES, self.bin / "postgres", "-D", folder / "data", *options]
        super().__init__(command, port, folder)

    def __enter__(self) -> "PostgreSQL":
        shutil.chown(self.folder, "postgres", "postgres")
        initdb = [self.bin / "initdb", "--auth=trust", "--encoding=UTF8", "--no-locale"]
        run(*AS_POSTGRES, *initdb, "-D", self.folder / "data", cwd=self.folder)
        super().__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self.process.send_signal(signal.SIGQUIT)  # immediately, with its children
        self.process.wait()
        shutil.rmtree(self.folder)

    def restart(self, seconds: float = 0) -> None:
        """Stop it in good order, though its clients are connected, and start it again later."""
        self.process.send_signal(signal.SIGINT)
        self.process.wait()
        time.sleep(seconds)
        super().__enter__()

    def database(self) -> dict[str, str]:
        """Create an empty database, and return the variable that points Airflow to it."""
        name = f"airflow_{secrets.token_hex(4)}"
        at = f"postgresql://postgres@127.0.0.1:{self.port}"
        create = f"--command=create database {name}"
        run(self.bin / "psql", f"{at}/postgres", create, cwd=self.folder)
        return {"AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"{at}/{name}"}


class PgBouncer(Server):
    """Debian's PgBouncer in front of a PostgreSQL, with a project's pgbouncer.ini.

    It is older than the chart's and refuses prepared statements, so clients use psycopg2, as in
    Airflow's image.

    Args:
        ini: as an administrator writes it, for the user USER and the database DATABASE on HOST.
        connection: where the database really is.
    """

    def __init__(self, ini: str, connection: str) -> None:
        [port] = free_ports(1)
        folder = Path(tempfile.mkdtemp(prefix="pgbouncer-"))
        database = urlsplit(connection)
        name, password = database.path.removeprefix("/"), secrets.token_hex()
        for old, new in {
            "USER": database.username,
            "DATABASE": name,
            "HOST": database.hostname,
            "port=5432": f"port={database.port}",
            "listen_addr = *": "listen_addr = 127.0.0.1",
            "listen_port = 6543": f"listen_port = {port}",
            "/etc/pgbouncer": str(folder),
            "max_prepared_statements = 100\n": "",
        }.items():
            assert old in ini, old
            ini = ini.replace(old, new)
        (folder / "pgbouncer.ini").write_text(f"{ini}unix_socket_dir =\n")
        (folder / "users.txt").write_text(f'"{database.username}" "{password}"\n')
        super().__init__([*AS_POSTGRES, "pgbouncer", folder / "pgbouncer.ini"], port, folder)
        user = f"{database.username}:{password}"
        self.connection = f"postgresql+psycopg2://{user}@127.0.0.1:{port}/{name}"

    def __enter__(self) -> "PgBouncer":
        for path in (self.folder, *self.folder.iterdir()):
            shutil.chown(path, "postgres", "postgres")
        super().__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        super().__exit__()
        shutil.rmtree(self.folder)
