"""Deploy dist/mwaa/ to an environment of Amazon MWAA: `make deploy`, or `make plan` to only look.

Only what has changed is uploaded, and the environment is updated only if it names other object
versions. Interrupted anywhere, the next run goes on from there.
"""

import argparse
import sys
import time
from typing import Any

from botocore.exceptions import ClientError

from mwaa.bucket import Bucket, clear_errors, client, explain, is_throttled, size, storage
from mwaa.bundle import BUNDLE, files, require_fresh_bundle

# How the environment names an object, and the version of it.
NAMED = {
    "plugins.zip": ("PluginsS3Path", "PluginsS3ObjectVersion"),
    "requirements.txt": ("RequirementsS3Path", "RequirementsS3ObjectVersion"),
    "startup.sh": ("StartupScriptS3Path", "StartupScriptS3ObjectVersion"),
}
READY = ("AVAILABLE", "UPDATE_FAILED")  # after a failed update MWAA restores what was before
WORKING = ("CREATING_SNAPSHOT", "MAINTENANCE", "PENDING", "ROLLING_BACK", "UPDATING")
POLL = 15.0  # seconds


def main(arguments: list[str] | None = None, s3: Any = None, mwaa: Any = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("environment", help="name of the environment")
    parser.add_argument("--dry-run", action="store_true", help="print the plan and change nothing")
    options = parser.parse_args(arguments)
    require_fresh_bundle()
    name, _ = storage()
    with clear_errors():
        s3, mwaa = s3 or client("s3"), mwaa or client("mwaa")
        bucket = Bucket(name, s3)
        environment = read_environment(mwaa, options.environment)
        require_ready(environment)
        require_bucket(bucket, environment, mwaa.meta.region_name)
        deploy(bucket, mwaa, environment, options.dry_run)


def read_environment(mwaa: Any, name: str) -> dict[str, Any]:
    """Ask MWAA for an environment.

    Raises:
        SystemExit: there is none of this name.
    """
    try:
        return mwaa.get_environment(Name=name)["Environment"]
    except ClientError as error:
        if error.response["Error"]["Code"] != "ResourceNotFoundException":
            raise
        sys.exit(
            f"There is no environment {name} in {mwaa.meta.region_name}. Create it with "
            "mwaa/environment.yaml, or name another: make deploy MWAA_ENVIRONMENT=NAME."
        )


def require_ready(environment: dict[str, Any]) -> None:
    """Stop unless the environment can be updated.

    Raises:
        SystemExit: with its status.
    """
    if environment["Status"] not in READY:
        sys.exit(
            f"The environment {environment['Name']} is {environment['Status']}: nothing was "
            "uploaded. Run the same command again when it is AVAILABLE."
        )


def require_bucket(bucket: Bucket, environment: dict[str, Any], region: str) -> None:
    """Stop unless the bucket is the environment's, in its region, and versioned.

    Raises:
        SystemExit: with what is wrong.
    """
    bucket.require()
    found = bucket.s3.get_bucket_location(Bucket=bucket.name)["LocationConstraint"]
    if (found or "us-east-1") != region:
        sys.exit(f"The bucket {bucket.name} is in {found or 'us-east-1'}, MWAA in {region}.")
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
    dags = environment["DagS3Path"].strip("/")
    objects = {name: BUNDLE / name for name in NAMED}
    objects |= {f"{dags}/{name}": path for name, path in files(BUNDLE / "dags")}
    actions = {key: bucket.compare(key, path) for key, path in objects.items()}
    for key, action in actions.items():
        print(f"{action:9} s3://{bucket.name}/{key} ({size(objects[key].stat().st_size)})")
    for key in left_over(bucket, dags, objects):
        print(f"left      s3://{bucket.name}/{key}, which is not in the bundle")

    def upload(keys: list[str]) -> None:
        for key in keys:
            if actions[key] != "unchanged":
                bucket.upload(key, objects[key])

    if dry_run:
        update = any(actions[name] != "unchanged" for name in NAMED)
        update = update or differences(bucket, environment)
        action = "update" if update else "unchanged"
        print(f"{action:9} the environment {environment['Name']}")
        return
    upload(list(NAMED))
    if wanted := differences(bucket, environment):
        try:
            mwaa.update_environment(Name=environment["Name"], **wanted)
        except ClientError as error:
            sys.exit(f"All is uploaded, but the environment is not updated. {explain(error)}")
        wait(mwaa, environment["Name"])
    upload([key for key in objects if key not in NAMED])
    print(f"Deployed. Open https://{environment['WebserverUrl']}")


def left_over(bucket: Bucket, dags: str, objects: dict[str, Any]) -> list[str]:
    """Find the objects in the folder of DAGs that the bundle does not have."""
    pages = bucket.s3.get_paginator("list_objects_v2").paginate(
        Bucket=bucket.name, Prefix=f"{dags}/"
    )
    keys = [entry["Key"] for page in pages for entry in page.get("Contents", [])]
    return [key for key in keys if key not in objects and not key.endswith("/")]


def differences(bucket: Bucket, environment: dict[str, Any]) -> dict[str, str]:
    """Find what the environment must be told: paths and the newest object versions."""
    wanted = {}
    for name, (path, version) in NAMED.items():
        found = bucket.head(name)
        newest = {path: name, version: found["VersionId"] if found else ""}
        if any(environment.get(key) != value for key, value in newest.items()):
            wanted |= newest
    return wanted


def wait(mwaa: Any, name: str) -> None:
    """Wait until the environment is updated, and show for how long.

    Raises:
        SystemExit: the update has failed.
    """
    started = time.monotonic()
    end = "\r" if sys.stdout.isatty() else "\n"
    while True:
        time.sleep(POLL)
        try:
            environment = mwaa.get_environment(Name=name)["Environment"]
        except ClientError as error:
            if is_throttled(error):
                continue
            raise
        minutes, seconds = divmod(int(time.monotonic() - started), 60)
        status = environment["Status"]
        print(f"{status.lower()} for {minutes} min {seconds:02} s ", end=end, flush=True)
        if status not in WORKING:
            break
    print()
    last = environment.get("LastUpdate", {})
    if status != "AVAILABLE" or last.get("Status") == "FAILED":
        error = last.get("Error", {})
        now = "runs as before, with the DAGs of before" if status in READY else f"is {status}"
        sys.exit(
            f"MWAA could not update {name}: {error.get('ErrorCode')}: "
            f"{error.get('ErrorMessage')} It {now}. The log groups airflow-{name}-* tell more."
        )


if __name__ == "__main__":
    main()
