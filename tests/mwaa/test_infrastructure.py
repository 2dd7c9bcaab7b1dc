"""What an MWAA project creates in AWS, and what its workflow may do there."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conftest import answers, edit, kedro_new, run, venv

pytestmark = pytest.mark.slow
BUCKET = {"Fn::GetAtt": "ProjectBucket.Arn"}
OBJECTS = {"Fn::Sub": "${ProjectBucket.Arn}/*"}
ACCOUNT = "${AWS::Region}:${AWS::AccountId}"
ENVIRONMENT = {
    "Fn::Sub": f"arn:${{AWS::Partition}}:airflow:{ACCOUNT}:environment/${{EnvironmentName}}"
}
# What the environment names by version.
NAMED = ["plugins.zip", "requirements.txt", "startup.sh"]
# Actions allowed on every resource, and why AWS allows nothing narrower.
ON_EVERYTHING = {
    "cloudwatch:PutMetricData": "metrics have no ARN; a condition names their namespaces",
    "logs:DescribeLogGroups": "it lists the log groups of an account",
    "s3:GetAccountPublicAccessBlock": "it is a setting of an account, not of a bucket",
}


class Loader(yaml.SafeLoader):
    """Reads the short forms of CloudFormation's functions, like !Ref, as the long ones."""


def read_function(loader: Loader, name: str, node: yaml.Node) -> dict[str, Any]:
    if isinstance(node, yaml.ScalarNode):
        argument = loader.construct_scalar(node)
    else:
        argument = loader.construct_sequence(node, deep=True)
    return {name if name in ("Ref", "Condition") else f"Fn::{name}": argument}


Loader.add_multi_constructor("!", read_function)


@pytest.fixture(scope="module")
def project(template, tmp_path_factory) -> Path:
    """A new project for MWAA."""
    folder = tmp_path_factory.mktemp("project")
    kedro_new(template, "spaceflights-mwaa", folder, answers())
    return folder / "space-flights"


@pytest.fixture
def file(project, tmp_path) -> Path:
    """A copy of mwaa/environment.yaml."""
    copy = tmp_path / "environment.yaml"
    copy.write_text((project / "mwaa" / "environment.yaml").read_text())
    return copy


@pytest.fixture(scope="module")
def stack(project) -> dict[str, Any]:
    """The content of mwaa/environment.yaml."""
    return yaml.load((project / "mwaa" / "environment.yaml").read_text(), Loader)


@pytest.fixture(scope="module")
def workflow(project) -> str:
    """The text of .github/workflows/deploy.yml."""
    return (project / ".github" / "workflows" / "deploy.yml").read_text()


def create(stack: dict[str, Any], **parameters: object) -> dict[str, dict[str, Any]]:
    """Find the resources that CloudFormation would create with these parameters, by name."""
    defaults = {name: of.get("Default") for name, of in stack["Parameters"].items()}
    values = defaults | {"Bucket": "my-bucket", "AWS::NoValue": None} | parameters

    def resolve(node: Any) -> Any:
        if isinstance(node, list):
            return [resolve(item) for item in node]
        if not isinstance(node, dict):
            return node
        match list(node.items()):
            case [("Ref", name)] if name in values:
                return values[name]
            case [("Condition", str(name))]:
                return resolve(stack["Conditions"][name])
            case [("Fn::Equals", [one, other])]:
                return resolve(one) == resolve(other)
            case [("Fn::Not", [condition])]:
                return not resolve(condition)
            case [("Fn::And", conditions)]:
                return all(resolve(conditions))
            case [("Fn::If", [name, yes, no])]:
                return resolve(yes if resolve({"Condition": name}) else no)
        resolved = {key: resolve(value) for key, value in node.items()}
        return {key: value for key, value in resolved.items() if value is not None}

    return {
        name: resolve({key: value for key, value in resource.items() if key != "Condition"})
        for name, resource in stack["Resources"].items()
        if "Condition" not in resource or resolve({"Condition": resource["Condition"]})
    }


def listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def statements(stack: dict[str, Any], *roles: str) -> list[dict[str, Any]]:
    """Collect what the policies of roles allow."""
    return [
        statement
        for role in roles
        for policy in stack["Resources"][role]["Properties"]["Policies"]
        for statement in policy["PolicyDocument"]["Statement"]
        if statement["Effect"] == "Allow"
    ]


def checkov(linters: Path, file: Path) -> dict[str, list[dict[str, Any]]]:
    """Run checkov, and return its findings by outcome."""
    command = ["--framework=cloudformation", "--skip-download", "--output=json", "--soft-fail"]
    done = run(linters / "checkov", *command, "-f", file, cwd=file.parent)
    return json.loads(done.stdout)["results"]


def test_cfn_lint_finds_nothing(linters, file):
    assert run(linters / "cfn-lint", "--include-checks=I", "--", file, cwd=file.parent).stdout == ""


def test_cfn_lint_refuses_an_unknown_property(linters, file):
    edit(file, "DagS3Path: dags", "DagsS3Path: dags")
    done = run(linters / "cfn-lint", file, cwd=file.parent, check=False)
    assert done.returncode == 2
    assert "E3002" in done.stdout and "'DagsS3Path'" in done.stdout


def test_checkov_finds_nothing_but_one_exception_with_a_reason(linters, file):
    results = checkov(linters, file)
    assert results["failed_checks"] == []
    assert {found["resource"] for found in results["passed_checks"]} >= {
        "AWS::IAM::Role.DeployRole",
        "AWS::IAM::Role.ExecutionRole",
        "AWS::S3::Bucket.ProjectBucket",
    }
    [skipped] = results["skipped_checks"]
    assert skipped["check_id"] == "CKV_AWS_18"
    assert skipped["check_result"]["suppress_comment"].startswith("Access logs need")


def test_checkov_refuses_an_unversioned_bucket(linters, file):
    edit(file, "Status: Enabled # MWAA requires it", "Status: Suspended")
    [failed] = checkov(linters, file)["failed_checks"]
    assert failed["check_id"] == "CKV_AWS_21"


def test_cfn_lint_has_one_exception_with_a_reason(stack, file):
    metadata = [resource.get("Metadata", {}) for resource in stack["Resources"].values()]
    assert stack["Metadata"] == {"cfn-lint": {"config": {"ignore_checks": ["W1030"]}}}
    assert [each for each in metadata if "cfn-lint" in each] == []
    assert re.search(r"ignore_checks: \[W1030\] # \w+", file.read_text())


def test_bucket_is_versioned_encrypted_closed_to_the_public_and_outlives_the_stack(stack):
    bucket = create(stack)["ProjectBucket"]
    properties = bucket["Properties"]
    [encryption] = properties["BucketEncryption"]["ServerSideEncryptionConfiguration"]
    assert properties["BucketName"] == "my-bucket"
    assert properties["VersioningConfiguration"] == {"Status": "Enabled"}
    assert encryption == {"ServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}
    assert properties["PublicAccessBlockConfiguration"] == {
        "BlockPublicAcls": True,
        "BlockPublicPolicy": True,
        "IgnorePublicAcls": True,
        "RestrictPublicBuckets": True,
    }
    assert bucket["DeletionPolicy"] == "RetainExceptOnCreate"
    assert bucket["UpdateReplacePolicy"] == "Retain"


def test_bucket_refuses_connections_without_tls(stack):
    properties = stack["Resources"]["BucketPolicy"]["Properties"]
    [statement] = properties["PolicyDocument"]["Statement"]
    assert properties["Bucket"] == {"Ref": "ProjectBucket"}
    assert statement == {
        "Sid": "OnlyEncryptedConnections",
        "Effect": "Deny",
        "Principal": "*",
        "Action": "s3:*",
        "Resource": [BUCKET, OBJECTS],
        "Condition": {"Bool": {"aws:SecureTransport": "false"}},
    }


def test_old_versions_of_data_expire_and_those_that_the_environment_may_name_stay(stack):
    rules = stack["Resources"]["ProjectBucket"]["Properties"]["LifecycleConfiguration"]["Rules"]
    whole_bucket = [rule for rule in rules if "Prefix" not in rule]
    [data] = [rule for rule in rules if "Prefix" in rule]
    assert data["Prefix"] == {"Fn::Sub": "${DataPrefix}/"}
    assert data["NoncurrentVersionExpiration"] == {"NoncurrentDays": 30}
    assert [set(rule) - {"Id", "Status"} for rule in whole_bucket] == [
        {"AbortIncompleteMultipartUpload"}
    ]


def test_nothing_in_iam_but_roles_with_their_own_policies_and_the_provider(stack):
    iam = {
        name: resource
        for name, resource in stack["Resources"].items()
        if resource["Type"].startswith("AWS::IAM::")
    }
    assert {name: resource["Type"] for name, resource in iam.items()} == {
        "DeployRole": "AWS::IAM::Role",
        "ExecutionRole": "AWS::IAM::Role",
        "GitHubOidcProvider": "AWS::IAM::OIDCProvider",
    }
    for role in ("DeployRole", "ExecutionRole"):
        assert set(iam[role]["Properties"]) == {"AssumeRolePolicyDocument", "Policies"}


def test_only_what_aws_cannot_narrow_is_allowed_on_every_resource(stack):
    allowed = statements(stack, "DeployRole", "ExecutionRole")
    wide = [statement for statement in allowed if "*" in listed(statement.get("Resource"))]
    actions = [action for statement in wide for action in listed(statement["Action"])]
    assert sorted(actions) == sorted(ON_EVERYTHING)
    [metrics] = [each for each in wide if each["Action"] == "cloudwatch:PutMetricData"]
    assert metrics["Condition"] == {
        "StringEquals": {"cloudwatch:namespace": ["AmazonMWAA", "AWS/MWAA"]}
    }


def test_keys_are_used_only_for_queues_and_none_is_this_accounts(stack):
    allowed = statements(stack, "DeployRole", "ExecutionRole")
    [keys] = [statement for statement in allowed if "NotResource" in statement]
    assert [
        statement
        for statement in allowed
        if statement is not keys
        and any(action.startswith("kms:") for action in listed(statement["Action"]))
    ] == []
    assert all(action.startswith("kms:") for action in keys["Action"])
    assert keys["NotResource"] == {"Fn::Sub": "arn:${AWS::Partition}:kms:*:${AWS::AccountId}:key/*"}
    assert keys["Condition"] == {
        "StringEquals": {"kms:ViaService": {"Fn::Sub": "sqs.${AWS::Region}.amazonaws.com"}}
    }


@pytest.mark.parametrize("role", ["DeployRole", "ExecutionRole"])
def test_every_action_in_s3_is_allowed_only_on_this_bucket(stack, role):
    found = [
        (action, resource)
        for statement in statements(stack, role)
        for action in listed(statement["Action"])
        for resource in listed(statement.get("Resource"))
        if action.startswith(("s3:", "*")) and action not in ON_EVERYTHING
    ]
    assert {json.dumps(resource) for _, resource in found} == {
        json.dumps(BUCKET),
        json.dumps(OBJECTS),
    }
    assert not {"*", "s3:*"} & {action for action, _ in found}


def test_tasks_cannot_change_the_code_that_they_run(stack):
    [policy] = stack["Resources"]["ExecutionRole"]["Properties"]["Policies"]
    [denied] = [
        statement
        for statement in policy["PolicyDocument"]["Statement"]
        if statement["Effect"] == "Deny"
    ]
    assert denied["Action"] == ["s3:PutObject", "s3:DeleteObject"]
    assert denied["Resource"] == [
        {"Fn::Sub": f"${{ProjectBucket.Arn}}/{name}"} for name in ("dags/*", *NAMED)
    ]


def test_mwaa_may_assume_the_execution_role_only_for_this_environment(stack):
    role = stack["Resources"]["ExecutionRole"]["Properties"]
    [trust] = role["AssumeRolePolicyDocument"]["Statement"]
    assert trust["Principal"] == {"Service": ["airflow.amazonaws.com", "airflow-env.amazonaws.com"]}
    assert trust["Condition"] == {
        "StringEquals": {"aws:SourceAccount": {"Ref": "AWS::AccountId"}},
        "ArnLike": {"aws:SourceArn": ENVIRONMENT},
    }


@pytest.mark.parametrize(
    ("given", "provider"),
    [("", {"Ref": "GitHubOidcProvider"}), ("arn:aws:iam::1:oidc-provider/x",) * 2],
    ids=["new-provider", "existing-provider"],
)
def test_deploy_role_is_for_the_workflow_of_one_repository_on_main(stack, given, provider):
    parameters = {"GitHubRepository": "me@12/flights@34", "GitHubOidcProviderArn": given}
    resources = create(stack, **parameters)
    [trust] = resources["DeployRole"]["Properties"]["AssumeRolePolicyDocument"]["Statement"]
    assert ("GitHubOidcProvider" in resources) == (given == "")
    assert trust["Principal"] == {"Federated": provider}
    assert trust["Action"] == "sts:AssumeRoleWithWebIdentity"
    assert trust["Condition"] == {
        "StringEquals": {
            "token.actions.githubusercontent.com:aud": "sts.amazonaws.com",
            "token.actions.githubusercontent.com:sub": {
                "Fn::Sub": "repo:${GitHubRepository}:ref:refs/heads/main"
            },
        }
    }


@pytest.mark.parametrize(
    ("given", "accepted"),
    [
        ("", True),
        ("me@12/flights@34", True),
        ("me/flights", False),  # names that somebody else may have later
        ("me@12/flights", False),
        ("me@*/flights@*", False),
    ],
)
def test_repository_that_deploys_is_named_by_ids_that_are_never_used_again(stack, given, accepted):
    pattern = stack["Parameters"]["GitHubRepository"]["AllowedPattern"]
    assert bool(re.fullmatch(pattern, given)) == accepted


def test_deploy_role_may_do_what_make_deploy_does(stack):
    found = {
        action: (statement["Resource"], statement.get("Condition"))
        for statement in statements(stack, "DeployRole")
        for action in listed(statement["Action"])
    }
    passed = {"StringEquals": {"iam:PassedToService": "airflow.amazonaws.com"}}
    assert found == {
        "airflow:GetEnvironment": (ENVIRONMENT, None),
        "airflow:UpdateEnvironment": (ENVIRONMENT, None),
        "iam:PassRole": ({"Fn::GetAtt": "ExecutionRole.Arn"}, passed),
        "s3:AbortMultipartUpload": (OBJECTS, None),
        "s3:GetBucketLocation": (BUCKET, None),
        "s3:GetBucketVersioning": (BUCKET, None),
        "s3:GetEncryptionConfiguration": (BUCKET, None),
        "s3:GetObject": (OBJECTS, None),
        "s3:GetObjectVersion": (OBJECTS, None),
        "s3:ListBucket": (BUCKET, None),
        "s3:PutObject": (OBJECTS, None),
    }


def test_there_is_no_deploy_role_without_a_repository(stack):
    assert not {"DeployRole", "GitHubOidcProvider"} & set(create(stack))


def test_environment_names_a_startup_script_only_when_told_its_version(stack):
    script = {"StartupScriptS3Path": "startup.sh", "StartupScriptS3ObjectVersion": "v1"}
    empty = create(stack)["Environment"]["Properties"]
    told = create(stack, StartupScriptVersion="v1")["Environment"]["Properties"]
    assert told == empty | script
    assert not set(script) & set(empty)
    assert not [key for key in empty if key.startswith(("Plugins", "Requirements"))]


def test_environment_has_its_own_network_or_the_given_one(stack):
    own = create(stack)
    given = create(stack, VpcId="vpc-1", PrivateSubnetIds=["subnet-1", "subnet-2"])
    subnets = [resources["Environment"]["Properties"] for resources in (own, given)]
    assert [each["NetworkConfiguration"]["SubnetIds"] for each in subnets] == [
        [{"Ref": "PrivateSubnet1"}, {"Ref": "PrivateSubnet2"}],
        ["subnet-1", "subnet-2"],
    ]
    assert own["SecurityGroup"]["Properties"]["VpcId"] == {"Ref": "Vpc"}
    assert given["SecurityGroup"]["Properties"]["VpcId"] == "vpc-1"
    routes = [{"Ref": name} for name in ("PrivateRoute", "PrivateRoutes1", "PrivateRoutes2")]
    assert own["Environment"]["Metadata"] == {"Routes": [*routes, {"Ref": "S3Endpoint"}]}
    assert given["Environment"]["Metadata"] == {"Routes": []}
    assert {name for name in given if given[name]["Type"].startswith("AWS::EC2::")} == {
        "InsideTheGroup",
        "SecurityGroup",
    }


def test_only_the_environment_can_reach_itself(stack):
    resources = create(stack)
    [ingress] = [of for of in resources.values() if of["Type"].endswith("::SecurityGroupIngress")]
    group = {"Ref": "SecurityGroup"}
    assert ingress["Properties"]["GroupId"] == group
    assert ingress["Properties"]["SourceSecurityGroupId"] == group
    assert "SecurityGroupIngress" not in resources["SecurityGroup"]["Properties"]


@pytest.mark.parametrize(("size", "workers"), [("mw1.small", (2, 5)), ("mw1.micro", (1, 1))])
def test_micro_environment_has_one_worker_whatever_is_asked_for(stack, size, workers):
    resources = create(stack, EnvironmentClass=size, MinWorkers=2, MaxWorkers=5)
    properties = resources["Environment"]["Properties"]
    assert (properties["MinWorkers"], properties["MaxWorkers"]) == workers


def test_all_five_logs_are_written(stack):
    assert create(stack)["Environment"]["Properties"]["LoggingConfiguration"] == {
        f"{kind}Logs": {"Enabled": True, "LogLevel": "INFO"}
        for kind in ("DagProcessing", "Scheduler", "Task", "Webserver", "Worker")
    }


def test_defaults_agree_with_the_makefile_and_with_what_make_packages_knows(stack, project):
    makefile = dict(re.findall(r"^(MWAA_\w+) \?= (.+)$", (project / "Makefile").read_text(), re.M))
    parameters = stack["Parameters"]
    assert parameters["EnvironmentName"]["Default"] == makefile["MWAA_ENVIRONMENT"]
    assert parameters["AirflowVersion"]["Default"] == makefile["MWAA_AIRFLOW"]
    known = {path.stem for path in (project / "mwaa" / "constraints").glob("*.txt")}
    assert set(parameters["AirflowVersion"]["AllowedValues"]) == known


def test_workflow_gets_credentials_in_a_job_that_runs_only_the_deployment(workflow):
    jobs = yaml.safe_load(workflow)["jobs"]
    steps = {
        name: [step.get("run") or step["uses"].partition("@")[0] for step in job["steps"]]
        for name, job in jobs.items()
    }
    install = 'pip install --require-hashes --only-binary=":all:" --requirement '
    assert steps == {
        "build": [
            "actions/checkout",
            "actions/setup-python",
            "make install",
            "make check",
            "make test",
            "make bundle",
            "actions/upload-artifact",
        ],
        "deploy": [
            "actions/checkout",
            "actions/setup-python",
            f"{install}mwaa/requirements-deploy.txt",
            "actions/download-artifact",
            "aws-actions/configure-aws-credentials",
            "make deploy",
        ],
    }
    assert jobs["deploy"]["steps"][4]["with"] == {
        "role-to-assume": "${{ vars.AWS_DEPLOY_ROLE }}",
        "aws-region": "${{ vars.AWS_REGION }}",
    }


def test_the_deploying_job_gets_the_whole_bundle(workflow):
    jobs = yaml.safe_load(workflow)["jobs"]
    assert jobs["deploy"]["needs"] == "build"
    [uploaded] = [each["with"] for each in jobs["build"]["steps"] if "upload" in str(each)]
    [downloaded] = [each["with"] for each in jobs["deploy"]["steps"] if "download" in str(each)]
    assert uploaded == {**downloaded, "include-hidden-files": True}  # .airflowignore


def test_the_deployment_needs_only_what_its_locked_requirements_install(project, tmp_path):
    lock = project / "mwaa" / "requirements-deploy.txt"
    bin = venv(tmp_path / "venv", "--require-hashes", "--requirement", lock)
    code = "import sys; sys.path.insert(0, sys.argv[1]); import mwaa.deploy"
    run(bin / "python", "-c", code, project, cwd=tmp_path)


def test_workflow_deploys_main_once_a_role_is_set_and_contains_no_secret(workflow):
    loaded = yaml.safe_load(workflow)
    build, deploy = loaded["jobs"].values()
    # YAML 1.1 reads the key on as true.
    assert loaded[True] == {"push": {"branches": ["main"]}, "workflow_dispatch": None}
    assert loaded["permissions"] == {"contents": "read"}
    assert "permissions" not in build
    assert deploy["permissions"] == {"contents": "read", "id-token": "write"}
    assert build["if"] == "vars.AWS_DEPLOY_ROLE != ''"
    assert "secrets." not in workflow
