"""A bucket of S3, and uploads of what has changed."""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from mwaa.sources import sha256

RETRIES = Config(retries={"mode": "standard", "max_attempts": 8})


def client(service: str) -> Any:
    """Connect to a service of AWS with the credentials and the region that boto3 finds."""
    return boto3.client(service, region_name=os.environ.get("AWS_REGION"), config=RETRIES)


@contextmanager
def clear_errors() -> Iterator[None]:
    """End the program with one sentence when AWS refuses something."""
    try:
        yield
    except ClientError as error:
        sys.exit(explain(error))
    except BotoCoreError as error:
        sys.exit(f"Cannot reach AWS: {error}")


def explain(error: ClientError) -> str:
    """Say what AWS has refused and what to do."""
    code, said = error.response["Error"]["Code"], error.response["Error"].get("Message", "")
    call = error.operation_name
    if code in ("AccessDenied", "AccessDeniedException", "403"):
        return (
            f"{call} is not allowed with these credentials ({said}). The DeployRole of "
            "mwaa/environment.yaml has all permissions that are needed."
        )
    if is_throttled(error):
        return f"{call}: AWS has too many requests at the moment. Run the same command again."
    if code in ("ExpiredToken", "ExpiredTokenException", "InvalidClientTokenId"):
        return f"{call}: the credentials have expired or are wrong ({said}). Log in again."
    return f"{call}: AWS answers {code}: {said}"


def is_throttled(error: ClientError) -> bool:
    """Tell whether AWS only wants to be asked later."""
    code = error.response["Error"]["Code"]
    return "Throttl" in code or code in ("TooManyRequestsException", "SlowDown")


class Bucket:
    """An S3 bucket whose objects carry the SHA-256 of their content."""

    def __init__(self, name: str, s3: Any) -> None:
        self.name, self.s3 = name, s3

    def head(self, key: str) -> Any:
        """Describe an object as S3's HeadObject does; None where there is none."""
        try:
            return self.s3.head_object(Bucket=self.name, Key=key)
        except ClientError as error:
            if error.response["Error"]["Code"] == "404":
                return None
            raise

    def compare(self, key: str, path: Path) -> str:
        """Say what an upload would do: create, update, or nothing (unchanged)."""
        found = self.head(key)
        if not found:
            return "create"
        return "unchanged" if found["Metadata"].get("sha256") == sha256(path) else "update"

    def upload(self, key: str, path: Path, sent: Callable[[int], None] | None = None) -> None:
        """Upload a file, and tell ``sent`` of bytes; an interrupted upload changes nothing."""
        metadata = {"Metadata": {"sha256": sha256(path)}}
        with path.open("rb") as file:
            self.s3.upload_fileobj(file, self.name, key, ExtraArgs=metadata, Callback=sent)

    def require(self) -> None:
        """Stop unless there is such a bucket that one may read."""
        try:
            self.s3.head_bucket(Bucket=self.name)
        except ClientError as error:
            if error.response["Error"]["Code"] != "404":
                raise
            sys.exit(
                f"There is no bucket {self.name}. Correct storage in conf/airflow/globals.yml, "
                "or create the bucket with mwaa/environment.yaml."
            )
