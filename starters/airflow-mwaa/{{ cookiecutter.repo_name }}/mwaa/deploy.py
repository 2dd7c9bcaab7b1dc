"""Deploy dist/mwaa/ to an environment of Amazon MWAA: `make deploy`, or `make plan` to only look.

Only what has changed is uploaded, and the environment is updated only if it names other object
versions. Interrupted anywhere, the next run goes on from there. No package but boto3 is needed, so
that none runs with the right to deploy.
"""

import argparse
import sys
import time
from typing import Any

from botocore.exceptions import ClientError

from mwaa.bucket import Bucket, clear_errors, client, explain, is_throttled
from mwaa.sources import BUNDLE, files, require_fresh_bundle, size

# How the environment names an object, and the version of it.
NAMED = {
    "plugins.zip": ("PluginsS3Path", "PluginsS3ObjectVersion"),
    "requirements.txt": ("RequirementsS3Path", "RequirementsS3ObjectVersion"),
    "startup.sh": ("StartupScriptS3Path", "StartupScriptS3ObjectVersion"),
}
READY = ("AVAILABLE", "UPDATE_FAILED")  # after a failed update MWAA restores what was before
WORKING = ("CREATING_SNAPSHOT", "MAINTENANCE", "PENDING", "ROLLING_BACK", "UPDATING")
POLL = 15.0  # seconds


@clear_errors()
def main(arguments: list[str] | None = None, s3: Any = None, mwaa: Any = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("environment", help="name of the environment")
    parser.add_argument("--dry-run", action="store_true", help="print the plan and change nothing")
    options = parser.parse_args(arguments)
    name = require_fresh_bundle()["bucket"]
    bucket, mwaa = Bucket(name, s3 or client("s3")), mwaa or client("mwaa")
    environment = read_environment(mwaa, options.environment)
    require_bucket(bucket, environment, mwaa.meta.region_name)
    deploy(bucket, mwaa, environment, options.dry_run)


def read_environment(mwaa: Any, name: str) -> dict[str, Any]:
    """Ask MWAA for an environment; stop unless it can be updated."""
    try:
        environment: dict[str, Any] = mwaa.get_environment(Name=name)["Environment"]
    except ClientError as error:
        if error.response["Error"]["Code"] != "ResourceNotFoundException":
            raise
        sys.exit(
            f"There is no environment {name} in {mwaa.meta.region_name}. Create it with "
            "mwaa/environment.yaml, or name another: make deploy MWAA_ENVIRONMENT=NAME."
        )
    if environment["Status"] not in READY:
        sys.exit(
            f"The environment {name} is {environment['Status']}: nothing was uploaded. Run the "
            "same command again when it is AVAILABLE."
        )
    return environment


def require_bucket(bucket: Bucket, environment: dict[str, Any], region: str) -> None:
    """Stop unless the bucket is the environment's, in its region, and versioned."""
    bucket.require()
    found = bucket.s3.get_bucket_location(Bucket=bucket.name)["LocationConstraint"] or "us-east-1"
    if found != region:
        sys.exit(f"The bucket {bucket.name} is in {found}, MWAA in {region}.")
    own = environment["SourceBucketArn"].rpartition(":::")[2]
    if own != bucket.name:
        sys.exit(
            f"The environment {environment['Name']} reads its DAGs from the bucket {own}, but "
            f"storage in conf/airflow/globals.yml names {bucket.name}."
        )
    if bucket.s3.get_bucket_versioning(Bucket=bucket.name).get("Status") != "Enabled":
        sys.exit(f"The bucket {bucket.name} has no versioning, which MWAA requires: enable it.")


def deploy(bucket: Bucket, mwaa: Any, environment: dict[str, Any], dry_run: bool) -> None:
    """Print the plan, and unless it is a dry run, carry it out.

    The DAGs come last, when the environment has the packages that they need.
    """
    folder = environment["DagS3Path"].strip("/")
    objects = {name: BUNDLE / name for name in NAMED}
    objects |= {f"{folder}/{name}": path for name, path in files(BUNDLE / "dags")}
    changed = []
    for key, path in objects.items():
        action = bucket.compare(key, path)
        print(f"{action:9} s3://{bucket.name}/{key} ({size(path.stat().st_size)})")
        if action != "unchanged":
            changed.append(key)
    listing = bucket.s3.get_paginator("list_objects_v2").paginate(
        Bucket=bucket.name, Prefix=f"{folder}/"
    )
    for key in listing.search("Contents[].Key"):  # None for an empty folder
        if key and key not in objects and not key.endswith("/"):
            print(f"left      s3://{bucket.name}/{key}, which is not in the bundle")
    packages = [key for key in changed if key in NAMED]
    if dry_run:
        action = "update" if packages or differences(bucket, environment) else "unchanged"
        print(f"{action:9} the environment {environment['Name']}")
        return
    for key in packages:
        bucket.upload(key, objects[key])
    if wanted := differences(bucket, environment):
        try:
            mwaa.update_environment(Name=environment["Name"], **wanted)
        except ClientError as error:
            sys.exit(
                f"Everything is uploaded, but the environment is not updated. {explain(error)}"
            )
        wait(mwaa, environment["Name"])
    for key in changed:
        if key not in NAMED:
            bucket.upload(key, objects[key])
    print(f"Deployed. Open https://{environment['WebserverUrl']}")


def differences(bucket: Bucket, environment: dict[str, Any]) -> dict[str, str]:
    """Find what the environment must be told: paths and the newest object versions."""
    wanted: dict[str, str] = {}
    for name, (path, version) in NAMED.items():
        found = bucket.head(name)
        newest = {path: name, version: found["VersionId"] if found else ""}
        if not newest.items() <= environment.items():
            wanted |= newest
    return wanted


def wait(mwaa: Any, name: str) -> None:
    """Wait until the environment is updated, and show for how long."""
    started, status = time.monotonic(), "UPDATING"
    end = "\r" if sys.stdout.isatty() else "\n"
    while status in WORKING:
        time.sleep(POLL)
        try:
            environment = mwaa.get_environment(Name=name)["Environment"]
        except ClientError as error:
            if is_throttled(error):
                continue
            raise
        status = environment["Status"]
        minutes, seconds = divmod(int(time.monotonic() - started), 60)
        print(f"{status.lower()} for {minutes} min {seconds:02} s ", end=end, flush=True)
    print()
    last = environment.get("LastUpdate", {})
    if status != "AVAILABLE" or last.get("Status") == "FAILED":
        why = last.get("Error", {})
        now = "runs as before, with the DAGs of before" if status in READY else f"is {status}"
        sys.exit(
            f"MWAA could not update {name}: {why.get('ErrorCode')}: "
            f"{why.get('ErrorMessage')} It {now}. The log groups airflow-{name}-* tell more."
        )


if __name__ == "__main__":
    main()
