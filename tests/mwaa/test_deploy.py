"""What `make data`, `make plan` and `make deploy` do to a bucket and to MWAA.

The bucket is real. MWAA's answers come from here; botocore's Stubber checks each call and each
answer against the model of the service.
"""

import itertools
from collections import Counter

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError
from botocore.stub import Stubber

from mwaa import data, deploy, sources

pytestmark = pytest.mark.slow  # a real S3
ENVIRONMENT = "space-flights"
URL = "0000.c1.us-east-1.airflow.amazonaws.com"
BUNDLE = {
    "plugins.zip": b"the wheel",
    "requirements.txt": b"/usr/local/airflow/plugins/space_flights.whl",
    "startup.sh": b"export DO_NOT_TRACK=1",
    "dags/.airflowignore": b"space_flights_airflow/",
    "dags/space_flights_airflow/dag.py": b"logic",
    "dags/space_flights_airflow_dag.py": b"data",
}
FILES = ["plugins.zip", "requirements.txt", "startup.sh"]


class Interrupted(Exception):
    """Stands in for whatever may end the program."""


class Service:
    """One environment of MWAA.

    Attributes:
        environment: what GetEnvironment answers.
        errors: by the name of a call, the error codes of its next calls.
        failure: of the next update; None lets it succeed.
        failed: the status after a failed update.
        stages: the statuses during an update, in turn.
        calls: how often each call was made.
    """

    def __init__(self, bucket, region="us-east-1", status="AVAILABLE"):
        keys = {"aws_access_key_id": "key", "aws_secret_access_key": "secret"}
        self.client = boto3.client("mwaa", region_name=region, **keys)
        self.meta = self.client.meta
        self.environment = {
            "Name": ENVIRONMENT,
            "Status": status,
            "SourceBucketArn": f"arn:aws:s3:::{bucket}",
            "DagS3Path": "dags",
            "WebserverUrl": URL,
        }
        self.errors = {}
        self.updated = {}
        self.failure, self.failed = None, "UPDATE_FAILED"
        self.stages, self.left = ["UPDATING"], []
        self.calls = Counter()

    def get_environment(self, **parameters):
        if parameters["Name"] != self.environment["Name"]:
            self.errors["get_environment"] = ["ResourceNotFoundException"]
        answer = self.answer("get_environment", parameters, {"Environment": dict(self.environment)})
        if self.environment["Status"] in self.stages:
            self.environment |= {"Status": self.left.pop(0)} if self.left else self.end_of_update()
        return answer

    def end_of_update(self):
        if not self.failure:
            return self.updated | {"Status": "AVAILABLE", "LastUpdate": {"Status": "SUCCESS"}}
        last, self.failure = {"Status": "FAILED", "Error": self.failure}, None
        return {"Status": self.failed, "LastUpdate": last}

    def update_environment(self, **parameters):
        answer = self.answer("update_environment", parameters, {"Arn": "arn:aws:airflow:::x"})
        self.updated = {key: value for key, value in parameters.items() if key != "Name"}
        self.environment["Status"], *self.left = self.stages
        return answer

    def answer(self, call, parameters, response):
        self.calls[call] += 1
        with Stubber(self.client) as stub:
            if self.errors.get(call):
                stub.add_client_error(call, self.errors[call].pop(0), "Said by AWS.")
            else:
                stub.add_response(call, response, parameters)
            return getattr(self.client, call)(**parameters)


@pytest.fixture
def bucket(s3, tmp_path, monkeypatch):
    """An empty, versioned bucket that `storage` names, and a bundle for it."""
    name = "flights"
    if name not in [found["Name"] for found in s3.client.list_buckets()["Buckets"]]:
        s3.create_bucket(name)
    empty(s3, name)
    for key, content in BUNDLE.items():
        (tmp_path / key).parent.mkdir(exist_ok=True)
        (tmp_path / key).write_bytes(content)
    monkeypatch.setattr(deploy, "BUNDLE", tmp_path)
    monkeypatch.setattr(deploy, "POLL", 0)
    monkeypatch.setattr(deploy, "require_fresh_bundle", lambda: {"bucket": name})
    for key, value in s3.environment.items():
        monkeypatch.setenv(key, value)
    return name


def run_deploy(s3, service, *options):
    deploy.main([ENVIRONMENT, *options], s3=s3.client, mwaa=service)


def versions(s3, bucket):
    """The ids of all versions of all objects, newest first."""
    listed = s3.client.list_object_versions(Bucket=bucket).get("Versions", [])
    listed.sort(key=lambda version: version["IsLatest"], reverse=True)
    found = {}
    for version in listed:
        found.setdefault(version["Key"], []).append(version["VersionId"])
    return found


def content(s3, bucket):
    """The objects that are not deleted."""
    pages = s3.client.get_paginator("list_objects_v2").paginate(Bucket=bucket)
    keys = [found["Key"] for page in pages for found in page.get("Contents", [])]
    return {key: s3.client.get_object(Bucket=bucket, Key=key)["Body"].read() for key in keys}


def empty(s3, bucket):
    for key, ids in versions(s3, bucket).items():
        for version in ids:
            s3.client.delete_object(Bucket=bucket, Key=key, VersionId=version)


def named(service):
    """The object versions that the environment names."""
    return [
        service.environment.get(f"{name}S3ObjectVersion")
        for name in ("Plugins", "Requirements", "StartupScript")
    ]


def test_first_deployment_uploads_all_and_tells_the_environment(bucket, s3, capsys):
    service = Service(bucket)
    run_deploy(s3, service)
    assert content(s3, bucket) == BUNDLE
    newest = [versions(s3, bucket)[key][0] for key in FILES]
    assert named(service) == newest
    assert service.environment["RequirementsS3Path"] == "requirements.txt"
    assert service.calls["update_environment"] == 1
    said = capsys.readouterr().out.splitlines()
    assert said[0] == f"create    s3://{bucket}/plugins.zip (9 B)"
    assert said[-1] == f"Deployed. Open https://{URL}"


def test_second_deployment_changes_nothing(bucket, s3, capsys):
    service = Service(bucket)
    run_deploy(s3, service)
    before = versions(s3, bucket)
    run_deploy(s3, service)
    assert versions(s3, bucket) == before
    assert service.calls["update_environment"] == 1
    assert capsys.readouterr().out.splitlines()[-1] == f"Deployed. Open https://{URL}"


def test_changed_dag_is_uploaded_alone_and_the_environment_is_left_alone(bucket, s3):
    service = Service(bucket)
    run_deploy(s3, service)
    before = versions(s3, bucket)
    (deploy.BUNDLE / "dags" / "space_flights_airflow" / "dag.py").write_bytes(b"changed")
    run_deploy(s3, service)
    after = versions(s3, bucket)
    assert [key for key in after if after[key] != before[key]] == [
        "dags/space_flights_airflow/dag.py"
    ]
    assert service.calls["update_environment"] == 1


def test_changed_package_updates_only_its_version_in_the_environment(bucket, s3):
    service = Service(bucket)
    run_deploy(s3, service)
    (deploy.BUNDLE / "plugins.zip").write_bytes(b"changed")
    run_deploy(s3, service)
    newest = versions(s3, bucket)["plugins.zip"][0]
    assert service.updated == {"PluginsS3Path": "plugins.zip", "PluginsS3ObjectVersion": newest}


def test_dry_run_prints_the_plan_and_changes_nothing(bucket, s3, capsys):
    service = Service(bucket)
    run_deploy(s3, service, "--dry-run")
    assert versions(s3, bucket) == {} and service.calls["update_environment"] == 0
    said = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in said] == ["create"] * 6 + ["update"]
    run_deploy(s3, service)
    capsys.readouterr()
    run_deploy(s3, service, "--dry-run")
    said = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in said] == ["unchanged"] * 7


def test_dag_that_is_not_in_the_bundle_is_left_and_named(bucket, s3, capsys):
    s3.client.put_object(Bucket=bucket, Key="dags/other.py", Body=b"other")
    run_deploy(s3, Service(bucket))
    assert content(s3, bucket) == BUNDLE | {"dags/other.py": b"other"}
    assert f"left      s3://{bucket}/dags/other.py, which is not in the bundle" in (
        capsys.readouterr().out
    )


@pytest.mark.parametrize("moment", ["before-call", "after-call"])
def test_interrupted_anywhere_and_run_again_it_ends_in_the_same_state(moment, bucket, s3):
    for last in itertools.count():
        empty(s3, bucket)
        service, left = Service(bucket), [last]

        def interrupt(left=left, **_):
            left[0] -= 1
            if left[0] < 0:
                raise Interrupted

        def answer(*arguments, service=service, interrupt=interrupt, was=service.answer):
            if moment == "before-call":
                interrupt()
            answered = was(*arguments)
            if moment == "after-call":
                interrupt()
            return answered

        service.answer = answer
        s3.client.meta.events.register(f"{moment}.s3", interrupt)
        try:
            run_deploy(s3, service)
        except Interrupted:
            done = False
        else:
            done = True
        finally:
            s3.client.meta.events.unregister(f"{moment}.s3", interrupt)
        left[0] = 1000
        while service.environment["Status"] == "UPDATING":
            service.get_environment(Name=ENVIRONMENT)
        run_deploy(s3, service)
        assert content(s3, bucket) == BUNDLE
        assert named(service) == [versions(s3, bucket)[key][0] for key in FILES]
        if done:
            break
    assert last > 20


def refused(s3, service, *options):
    with pytest.raises(SystemExit) as error:
        run_deploy(s3, service, *options)
    return str(error.value)


@pytest.mark.parametrize("status", ["UPDATE_FAILED", "AVAILABLE"])
def test_failed_update_is_reported_and_the_dags_stay_until_it_succeeds(status, bucket, s3):
    service = Service(bucket)
    service.failure = {"ErrorCode": "INCORRECT_CONFIGURATION", "ErrorMessage": "No such path."}
    service.failed = status
    assert refused(s3, service).startswith(
        f"MWAA could not update {ENVIRONMENT}: INCORRECT_CONFIGURATION: No such path. It runs as "
        "before, with the DAGs of before."
    )
    assert sorted(content(s3, bucket)) == FILES
    run_deploy(s3, service)
    assert content(s3, bucket) == BUNDLE


def test_update_is_awaited_whatever_mwaa_calls_its_stages(bucket, s3):
    service = Service(bucket)
    service.stages = ["PENDING", "CREATING_SNAPSHOT", "UPDATING", "MAINTENANCE", "ROLLING_BACK"]
    run_deploy(s3, service)
    assert service.environment["LastUpdate"] == {"Status": "SUCCESS"}
    assert content(s3, bucket) == BUNDLE


@pytest.mark.parametrize("status", ["UNAVAILABLE", "DELETED"])
def test_environment_broken_by_an_update_is_reported(status, bucket, s3):
    service = Service(bucket)
    service.failure, service.failed = {"ErrorCode": "X", "ErrorMessage": "Why."}, status
    assert refused(s3, service).startswith(f"MWAA could not update {ENVIRONMENT}: X: Why. It is ")
    assert sorted(content(s3, bucket)) == FILES


def test_throttled_update_is_reported_and_succeeds_in_the_next_run(bucket, s3):
    service = Service(bucket)
    service.errors["update_environment"] = ["ThrottlingException"]
    assert refused(s3, service) == (
        "Everything is uploaded, but the environment is not updated. UpdateEnvironment: AWS has "
        "too many requests at the moment. Run the same command again."
    )
    run_deploy(s3, service)
    assert service.environment["LastUpdate"] == {"Status": "SUCCESS"}


def test_throttled_question_during_the_update_is_asked_again(bucket, s3):
    service = Service(bucket)
    update = service.update_environment

    def throttle(**parameters):
        service.errors["get_environment"] = ["ThrottlingException"] * 2
        return update(**parameters)

    service.update_environment = throttle
    run_deploy(s3, service)
    assert service.environment["LastUpdate"] == {"Status": "SUCCESS"}


@pytest.mark.parametrize("call", ["get_environment", "update_environment"])
def test_missing_permission_names_the_call(call, bucket, s3):
    service = Service(bucket)
    service.errors[call] = ["AccessDeniedException"]
    name = "".join(part.title() for part in call.split("_"))
    assert f"{name} is not allowed with these credentials (Said by AWS.)" in (refused(s3, service))


def test_missing_permission_on_the_bucket_names_the_call(bucket, s3, monkeypatch):
    def deny(params, **_):
        raise ClientError({"Error": {"Code": "AccessDenied", "Message": "No."}}, "PutObject")

    s3.client.meta.events.register("before-call.s3.PutObject", deny)
    try:
        said = refused(s3, Service(bucket))
    finally:
        s3.client.meta.events.unregister("before-call.s3.PutObject", deny)
    assert said.startswith("PutObject is not allowed with these credentials (No.).")


def test_wrong_keys_are_reported_by_a_real_s3(bucket, s3):
    keys = {"aws_access_key_id": "unknown", "aws_secret_access_key": "wrong"}
    config = Config(proxies={})
    client = boto3.client("s3", endpoint_url=s3.url, region_name="us-east-1", config=config, **keys)
    with pytest.raises(SystemExit, match="HeadBucket is not allowed with these credentials"):
        deploy.main([ENVIRONMENT], s3=client, mwaa=Service(bucket))


@pytest.mark.parametrize("status", ["CREATING", "UPDATING", "DELETING", "UNAVAILABLE"])
def test_environment_that_is_not_ready_is_refused_before_any_upload(status, bucket, s3):
    assert refused(s3, Service(bucket, status=status)) == (
        f"The environment {ENVIRONMENT} is {status}: nothing was uploaded. Run the same command "
        "again when it is AVAILABLE."
    )
    assert versions(s3, bucket) == {}


def test_unknown_environment_is_refused(bucket, s3):
    with pytest.raises(SystemExit, match="There is no environment typo in us-east-1. Create it"):
        deploy.main(["typo"], s3=s3.client, mwaa=Service(bucket))


def test_bucket_in_another_region_is_refused_before_any_upload(bucket, s3):
    said = refused(s3, Service(bucket, region="eu-west-1"))
    assert said == f"The bucket {bucket} is in us-east-1, MWAA in eu-west-1."
    assert versions(s3, bucket) == {}


def test_bucket_of_another_environment_is_refused_before_any_upload(bucket, s3):
    assert "reads its DAGs from the bucket other, but storage in conf/airflow/globals.yml" in (
        refused(s3, Service("other"))
    )
    assert versions(s3, bucket) == {}


def test_bucket_without_versioning_is_refused(bucket, s3, monkeypatch):
    s3.client.create_bucket(Bucket="plain")
    monkeypatch.setattr(deploy, "require_fresh_bundle", lambda: {"bucket": "plain"})
    assert refused(s3, Service("plain")) == (
        "The bucket plain has no versioning, which MWAA requires: enable it."
    )


def test_missing_bucket_is_refused(bucket, s3, monkeypatch):
    monkeypatch.setattr(deploy, "require_fresh_bundle", lambda: {"bucket": "missing"})
    assert refused(s3, Service("missing")).startswith("There is no bucket missing.")


def test_missing_credentials_and_region_are_reported(bucket, s3, monkeypatch, tmp_path):
    for key in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION", "AWS_REGION"):
        monkeypatch.delenv(key, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for variable in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(variable, str(tmp_path / "none"))
    with pytest.raises(SystemExit, match="Cannot reach AWS: You must specify a region."):
        deploy.main([ENVIRONMENT])
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    with pytest.raises(SystemExit, match="Cannot reach AWS: Unable to locate credentials"):
        deploy.main([ENVIRONMENT])


@pytest.mark.parametrize("prefix", ["", "data", "team/flights"])
def test_only_new_or_changed_raw_data_is_uploaded(
    prefix, bucket, s3, tmp_path, monkeypatch, capsys
):
    raw = tmp_path / "data" / "01_raw"
    (raw / "deep").mkdir(parents=True)
    (raw / "companies.csv").write_text("id\n1\n")
    (raw / "deep" / "large.bin").write_bytes(bytes(20_000_000))
    (raw / ".gitkeep").write_text("")
    monkeypatch.setattr(data, "PROJECT", tmp_path)
    monkeypatch.setattr(data, "storage", lambda: (bucket, prefix))
    data.main()
    (raw / "companies.csv").write_text("id\n2\n")
    data.main()
    start = f"{prefix}/" if prefix else ""
    assert {key: len(ids) for key, ids in versions(s3, bucket).items()} == {
        f"{start}01_raw/companies.csv": 2,
        f"{start}01_raw/deep/large.bin": 1,
    }
    assert content(s3, bucket)[f"{start}01_raw/companies.csv"] == b"id\n2\n"
    said = capsys.readouterr().out.splitlines()
    assert [line for line in said if "/2 " in line] == [  # other tests may have set up logging
        f"1/2 create    {start}01_raw/companies.csv (5 B)",
        f"2/2 create    {start}01_raw/deep/large.bin (20 MB)",
        f"1/2 update    {start}01_raw/companies.csv (5 B)",
        f"2/2 unchanged {start}01_raw/deep/large.bin (20 MB)",
    ]


@pytest.mark.parametrize(
    "count, written",
    [(0, "0 B"), (999, "999 B"), (1000, "1 kB"), (14_930, "14.9 kB"), (2_500_000_000, "2.5 GB")],
)
def test_sizes_are_readable(count, written):
    assert sources.size(count) == written
