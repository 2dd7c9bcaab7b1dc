"""What deploy/ of a project for Kubernetes tells Airflow's official Helm chart."""

import importlib.util
import itertools
import json
import runpy
import sys
from collections.abc import Callable, Iterator
from functools import reduce
from pathlib import Path
from typing import Any, NamedTuple

import jinja2
import jsonschema
import pytest
import yaml

from tests.conftest import ROOT, answers, edit, run

SOURCE = ROOT / "layers" / "platforms" / "k8s" / "deploy"
# From the chart, Apache-2.0. It refuses wrong types, but unknown keys only at some levels.
CHART = ROOT / "tests" / "standins" / "helm"
SCHEMA = json.loads((CHART / "airflow-1.22.0.values.schema.json").read_text())
OVERLAYS = sorted(path.stem for path in (SOURCE / "overlays").glob("*.yaml"))
# An installation has one of each of these, and any of the others; None leaves it to values.yaml.
EXECUTORS = [
    None,
    "executor-kubernetes",
    "executor-celery-redis",
    "executor-celery-rabbitmq",
    "laptop",
]
DAGS = [None, "dags-git-sync", "dags-git-bundle"]
EXTRAS = [name for name in OVERLAYS if name not in {*EXECUTORS, *DAGS}]
WITH_DAGS = ["dagProcessor", "triggerer"]
# What of an object can be changed; of any other kind, all can.
CHANGEABLE = {
    "Deployment": {"replicas", "revisionHistoryLimit", "strategy", "template"},
    "StatefulSet": {
        *("persistentVolumeClaimRetentionPolicy", "replicas", "revisionHistoryLimit"),
        *("template", "updateStrategy"),
    },
    "Service": {"ports", "selector"},
    "PersistentVolumeClaim": set(),
}
HIGHLY_AVAILABLE = ["api-server", "dag-processor", "scheduler", "triggerer"]
KUBERNETES = "1.36"
CRDS = {"ScaledObject"}  # KEDA's, which kubernetes-validate does not know
MISSPELLED = [
    "exeuctor",
    "scheduler.resorces",
    "workers.celery.kda.enabled",
    "securityContexts.pod.runAsNonroot",
    "createUserJob.env.0.valueFrom.secretKeyref",
]


class Choice(NamedTuple):
    """One executor, one way to deliver DAGs, and extras."""

    executor: str | None
    dags: str | None
    extras: tuple[str, ...]

    @property
    def overlays(self) -> list[str]:
        return [name for name in (self.executor, self.dags, *self.extras) if name]


@pytest.fixture(scope="module")
def deploy(tmp_path_factory) -> Path:
    """The folder deploy/ of a new project."""
    folder = tmp_path_factory.mktemp("project") / "deploy"
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined, keep_trailing_newline=True)
    for source in [*SOURCE.glob("*.*"), *SOURCE.glob("overlays/*.yaml")]:
        target = folder / source.relative_to(SOURCE)
        target.parent.mkdir(parents=True, exist_ok=True)
        text = environment.from_string(source.read_text()).render(cookiecutter=answers())
        target.write_text(text)
    return folder


@pytest.fixture(scope="module")
def arguments(deploy):
    """The function of deploy/overlays.py."""
    return runpy.run_path(str(deploy / "overlays.py"))["arguments"]


@pytest.fixture(scope="module")
def needs(deploy) -> Callable:
    """The function of deploy/room.py."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(deploy)
        found = runpy.run_path(str(deploy / "room.py"))["needs"]
        del sys.modules["tools"]
    return found


@pytest.fixture(scope="module")
def files(deploy) -> dict[str | None, dict[str, Any]]:
    """The content of each overlay by its name, and of values.yaml as None."""
    paths = {None: deploy / "values.yaml"}
    paths |= {name: deploy / "overlays" / f"{name}.yaml" for name in OVERLAYS}
    return {name: yaml.safe_load(path.read_text()) for name, path in paths.items()}


@pytest.fixture(scope="module")
def choices(arguments) -> list[Choice]:
    """Each executor with each way to deliver DAGs, and with no, each single and all extras."""
    found = []
    for executor, dags in itertools.product(EXECUTORS, DAGS):
        alone = [Choice(executor, dags, (extra,)) for extra in EXTRAS]
        alone = [choice for choice in alone if is_accepted(arguments, choice.overlays)]
        together = Choice(executor, dags, tuple(choice.extras[0] for choice in alone))
        found += [Choice(executor, dags, ()), *alone, together]
    return found


@pytest.fixture(scope="module")
def template(chart, helm, arguments):
    """A function that renders the chart."""

    def render(overlays: list[str], release: str = "space-flights", *verb: str) -> str:
        command = [helm, *(verb or ["template"]), release, chart, "--namespace=airflow"]
        values = [*arguments(overlays), "--set-string=images.airflow.tag=1"]
        return run(*command, *values, cwd=Path.cwd()).stdout

    return render


@pytest.fixture(scope="module")
def rendered(template, choices, tmp_path_factory) -> dict[Choice, Path]:
    """The manifests of each choice."""
    folder = tmp_path_factory.mktemp("rendered")
    paths = {choice: folder / f"{number}.yaml" for number, choice in enumerate(choices)}
    for choice, path in paths.items():
        path.write_text(template(choice.overlays))
    return paths


def is_accepted(arguments, overlays: list[str]) -> bool:
    try:
        return bool(arguments(overlays))
    except ValueError:
        return False


def merge(values: dict[str, Any], more: dict[str, Any]) -> dict[str, Any]:
    """Merge values as Helm does: maps deeply, null removes a key, anything else replaces."""
    merged = dict(values)
    for key, value in more.items():
        if isinstance(value, dict) and isinstance(merged.get(key), dict):
            merged[key] = merge(merged[key], value)
        else:
            merged[key] = value
    return {key: value for key, value in merged.items() if value is not None}


def leaves(values: Any, path: str = "") -> Iterator[str]:
    """List the paths of everything but maps."""
    if isinstance(values, dict) and values:
        for key, value in values.items():
            yield from leaves(value, f"{path}.{key}".removeprefix("."))
    else:
        yield path


def unknown_keys(values: Any, schema: dict[str, Any], path: str = "") -> Iterator[str]:
    """List the keys that the schema does not name; maps without named keys may have any."""
    if "$ref" in schema:
        schema = SCHEMA["definitions"][schema["$ref"].rpartition("/")[2]]
    for alternative in schema.get("oneOf", []):
        schema = schema | alternative if "properties" in alternative else schema
    if isinstance(values, list):
        for number, item in enumerate(values):
            yield from unknown_keys(item, schema.get("items", {}), f"{path}.{number}")
    elif isinstance(values, dict) and "properties" in schema:
        for key, value in values.items():
            inner = f"{path}.{key}".removeprefix(".")
            if key in schema["properties"]:
                yield from unknown_keys(value, schema["properties"][key], inner)
            else:
                yield inner


def mebibytes(quantity: str) -> float:
    number, unit = quantity[:-2], quantity[-2:]
    return float(number) * {"Mi": 1, "Gi": 1024}[unit]


def cores(quantity: str) -> float:
    return float(quantity.removesuffix("m")) / (1000 if quantity.endswith("m") else 1)


def manifests(text: str) -> list[dict[str, Any]]:
    return [each for each in yaml.load_all(text, yaml.CSafeLoader) if each]


def pods(objects: list[dict[str, Any]]) -> Iterator[tuple[str, dict[str, Any]]]:
    """List the pods that these objects create, including KubernetesExecutor's template."""
    for each in objects:
        name = f"{each['kind']} {each['metadata']['name']}"
        if template := each.get("data", {}).get("pod_template_file.yaml"):
            yield f"{name}: pod_template_file.yaml", yaml.safe_load(template)["spec"]
        spec = each.get("spec", {})
        spec = spec.get("jobTemplate", {}).get("spec", spec)
        if "containers" in spec.get("template", {}).get("spec", {}):
            yield name, spec["template"]["spec"]


def needs_of_values(values: dict[str, Any]) -> dict[str, float]:
    """Sum up the cores and MiB that the chart's pods ask for, from the values alone."""
    executor, celery, git = (
        values["executor"],
        values["workers"]["celery"],
        values["dags"]["gitSync"],
    )
    services = {name: values[name] for name in ("apiServer", "scheduler", *WITH_DAGS)}
    with_dags = set(WITH_DAGS)
    if executor == "LocalExecutor":
        with_dags.add("scheduler")
    if executor == "CeleryExecutor":
        workers = 1 if celery.get("keda", {}).get("enabled") else celery["replicas"]
        services["worker"] = celery | {"replicas": workers}
        with_dags.add("worker")
    optional = {name: values.get(name, {}) for name in ("redis", "flower", "cleanup", "pgbouncer")}
    services |= {name: part for name, part in optional.items() if part.get("enabled")}
    services |= {name: values[name] for name in ("migrateDatabaseJob", "createUserJob")}
    total = {"cpu": 0.0, "memory": 0.0}
    for name, part in services.items():
        groomer = part.get("logGroomerSidecar", {"enabled": False})
        containers = [part, *([groomer] if groomer.get("enabled", True) else [])]
        containers += [git] if git.get("enabled") and name in with_dags else []
        containers += [part["metricsExporterSidecar"]] if name == "pgbouncer" else []
        for requests in (each["resources"]["requests"] for each in containers):
            total["cpu"] += part.get("replicas", 1) * cores(requests["cpu"])
            total["memory"] += part.get("replicas", 1) * mebibytes(requests["memory"])
    return total


def checkov(linters: Path, file: Path) -> dict[str, list[dict[str, Any]]]:
    """Run checkov, and return its findings by outcome."""
    command = ["--framework=kubernetes", "--skip-download", "--output=json", "--soft-fail"]
    done = run(linters / "checkov", *command, "-f", file, cwd=file.parent)
    return json.loads(done.stdout)["results"]


def test_every_combination_passes_the_charts_schema(files, choices):
    validator = jsonschema.Draft7Validator(SCHEMA)
    assert {name for choice in choices for name in choice.overlays} == set(OVERLAYS)
    for choice in choices:
        values = reduce(merge, [files[name] for name in [None, *choice.overlays]])
        assert [error.message for error in validator.iter_errors(values)] == [], choice


def test_schema_refuses_an_unknown_executor(files):
    values = merge(files[None], {"executor": "LocalExecuter"})
    assert not jsonschema.Draft7Validator(SCHEMA).is_valid(values)


@pytest.mark.parametrize("name", [None, *OVERLAYS])
def test_chart_knows_every_key(name, files):
    assert list(unknown_keys(files[name], SCHEMA)) == []


@pytest.mark.parametrize("path", MISSPELLED)
def test_misspelled_key_is_found_at_any_level(path, files):
    values: Any = {}
    for key in reversed(path.split(".")):
        values = [values] if key == "0" else {key: values}
    [found] = unknown_keys(merge(files[None], values), SCHEMA)
    assert found == path.removesuffix(".enabled")


def test_airflow_has_every_option_of_airflow_cfg(files):
    airflow = Path(importlib.util.find_spec("airflow").submodule_search_locations[0])
    known = yaml.safe_load((airflow / "config_templates" / "config.yml").read_text())
    of_providers = {
        ("celery", "worker_concurrency"),
        ("kubernetes_executor", "task_publish_max_retries"),
    }
    options = {
        (section, option)
        for values in files.values()
        for section, options in values.get("config", {}).items()
        for option in options
    }
    unknown = {
        each for each in options if each[1] not in known.get(each[0], {"options": ()})["options"]
    }
    assert unknown == of_providers
    backend = files["secrets-vault"]["config"]["secrets"]["backend_kwargs"]
    assert json.loads(backend)["kubernetes_role"] == "space-flights"


def test_compatible_overlays_never_set_the_same_value(files, arguments):
    for one, other in itertools.combinations(OVERLAYS, 2):
        celery = [] if {one, other} & set(EXECUTORS) else ["executor-celery-redis"]
        if is_accepted(arguments, [one, other, *celery]):
            assert set(leaves(files[one])) & set(leaves(files[other])) == set(), (one, other)


@pytest.mark.parametrize("name", OVERLAYS)
def test_overlay_begins_with_what_it_does_and_what_it_needs(name, deploy):
    what, before, then, *_ = (deploy / "overlays" / f"{name}.yaml").read_text().splitlines()
    assert what.startswith("# ") and what.endswith((".", ";", "Desktop.")), what
    assert before.startswith("# Before: "), before
    assert not then.startswith("#")
    assert max(len(line) for line in (what, before)) <= 110


@pytest.mark.parametrize("name", [None, *OVERLAYS])
def test_names_of_secrets_begin_with_the_projects_name(name, files):
    def secrets(values: Any) -> Iterator[str]:
        for key, value in values.items() if isinstance(values, dict) else enumerate(values):
            if isinstance(value, dict | list):
                yield from secrets(value)
            elif "secret" in str(key).lower() and str(key).endswith(("Name", "Secret")):
                yield value

    assert [each for each in secrets(files[name]) if not each.startswith("space-flights-")] == []


def test_laptop_leaves_half_a_gigabyte_of_four_for_a_task_and_the_cluster(files, deploy):
    values = merge(files[None], files["laptop"])
    limits = [values[part]["resources"]["limits"] for part in ("apiServer", "scheduler")]
    limits += [values[part]["resources"]["limits"] for part in ("dagProcessor", "triggerer")]
    postgresql = manifests((deploy / "postgresql.yaml").read_text())
    [[_, pod]] = pods(postgresql)
    limits += [container["resources"]["limits"] for container in pod["containers"]]
    assert sum(mebibytes(each["memory"]) for each in limits) <= 3.5 * 1024
    groomers = [values[part]["logGroomerSidecar"] for part in ("scheduler", "triggerer")]
    assert [each["enabled"] for each in groomers] == [False, False]


def test_docs_say_what_each_executor_needs_with_each_overlay_that_adds_to_it(
    files, deploy, arguments
):
    [[_, database]] = pods(manifests((deploy / "postgresql.yaml").read_text()))
    requests = database["containers"][0]["resources"]["requests"]

    def needed(*overlays: str) -> tuple[float, float]:
        total = needs_of_values(reduce(merge, [files[name] for name in [None, *overlays]]))
        if "laptop" in overlays:
            total["cpu"] += cores(requests["cpu"])
            total["memory"] += mebibytes(requests["memory"])
        return total["cpu"], total["memory"] / 1024

    columns = [[], ["dags-git-sync"], ["high-availability"], ["dags-git-sync", "high-availability"]]
    table = []
    for executor in EXECUTORS:
        row = [f"`{executor}`" if executor else "none: LocalExecutor"]
        for column in columns:
            overlays = [name for name in (executor, *column) if name]
            allowed = is_accepted(arguments, overlays)
            row.append("{:.2f} cores, {:.2f} GiB".format(*needed(*overlays)) if allowed else "-")
        table.append(row)
    alone = needed("executor-celery-redis")
    for extra in [name for name in EXTRAS if name != "high-availability"]:
        both = needed("executor-celery-redis", extra)
        more = [new - old for new, old in zip(both, alone, strict=True)]
        if any(more):
            cell = "{:+.2f} cores, {:+.2f} GiB".format(*more)
            table.append([f"`{extra}` adds", cell, *["the same"] * 3])
    rows = "".join(f"| {' | '.join(row)} |\n" for row in table)
    assert rows in (ROOT / "docs" / "kubernetes.md").read_text(), rows


def test_docs_say_of_each_overlay_what_ran():
    _, _, tested = (ROOT / "docs" / "kubernetes.md").read_text().partition("## What was tested")
    _, _, table = tested.partition("| overlays | what ran |")
    first_cells = [line.split("|")[1] for line in table.partition("\n\n")[0].splitlines()[2:]]
    named = [name for cell in first_cells for name in cell.split("`")[1::2]]
    assert sorted(named) == OVERLAYS


def test_no_overlay_sets_what_kubernetes_cannot_change(files):
    fixed = ("persistence", "podManagementPolicy", "volumeClaimTemplates", "nameOverride")
    fixed = (*fixed, "fullnameOverride", "useStandardNaming", "labels", "service")
    set_ = {leaf for name in OVERLAYS for leaf in leaves(files[name])}
    assert len(set_) > 100
    assert [leaf for leaf in set_ if set(leaf.split(".")) & set(fixed)] == []


@pytest.mark.parametrize(
    "part", ["apiServer", "scheduler", "dagProcessor", "triggerer", "worker", "flower"]
)
def test_probes_that_start_airflow_wait_for_a_busy_laptop(part, files):
    values = reduce(merge, [files[name] for name in (None, "executor-celery-redis", "flower")])
    probes = {"worker": values["workers"]["celery"], **values}[part]
    over_http = part in ("apiServer", "flower")
    assert probes["livenessProbe"]["timeoutSeconds"] == (30 if over_http else 60)


def test_oldest_logs_are_removed_before_the_disk_is_full(files):
    values = files[None]
    parts = [values["scheduler"], values["dagProcessor"], values["triggerer"]]
    parts.append(values["workers"]["celery"])
    assert {part["logGroomerSidecar"]["maxSizePercent"] for part in parts} == {80}


def test_password_that_begins_like_an_option_is_a_password(files, tmp_path):
    recorder = tmp_path / "airflow"
    recorder.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    recorder.chmod(0o755)
    environment = {"PATH": f"{tmp_path}:/usr/bin:/bin", "ADMIN_PASSWORD": "-s3 $cret"}
    done = run(*files[None]["createUserJob"]["args"], cwd=tmp_path, env=environment)
    assert "--password=-s3 $cret" in done.stdout.splitlines()


def test_each_overlay_becomes_one_argument_of_helm(arguments, deploy, monkeypatch):
    monkeypatch.chdir(deploy.parent)
    overlays = ["high-availability", "quotas", "high-availability"]
    assert arguments([]) == ["-f", "deploy/values.yaml"]
    assert arguments(overlays)[2:] == [
        *["-f", "deploy/overlays/high-availability.yaml"],
        *["-f", "deploy/overlays/quotas.yaml"],
    ]


@pytest.mark.parametrize(
    ("overlays", "message"),
    [
        ("flowr", "there is no overlay flowr: did you mean flower?"),
        ("zzz", f"there is no overlay zzz: there are {', '.join(OVERLAYS)}"),
        ("dags-git-sync dags-git-bundle", "dags-git-sync and dags-git-bundle exclude each other"),
        (
            "executor-kubernetes executor-celery-redis",
            "executor-kubernetes and executor-celery-redis exclude each other: choose one",
        ),
        ("laptop high-availability", "high-availability and laptop exclude each other"),
        ("flower", "flower needs executor-celery-redis or executor-celery-rabbitmq: add one"),
        ("celery-autoscaling executor-kubernetes", "celery-autoscaling needs executor-celery"),
    ],
)
def test_nonsensical_overlays_are_refused_in_one_line(overlays, message, deploy):
    command = ["python", "deploy/overlays.py", *overlays.split()]
    done = run(*command, cwd=deploy.parent, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"overlays.py: {message}")
    assert done.stderr.count("\n") == 1


def test_helm_gets_the_arguments_from_the_command(deploy):
    done = run("python", "deploy/overlays.py", "flower", "executor-celery-redis", cwd=deploy.parent)
    assert done.stdout == (
        "-f deploy/values.yaml -f deploy/overlays/flower.yaml"
        " -f deploy/overlays/executor-celery-redis.yaml\n"
    )


def test_postgresql_agrees_with_the_values(files, deploy):
    service, stateful, policy = manifests((deploy / "postgresql.yaml").read_text())
    labels = stateful["spec"]["template"]["metadata"]["labels"]
    [[_, pod]] = pods([stateful])
    [secret] = [each["secret"] for each in pod["volumes"] if "secret" in each]
    assert service["spec"]["selector"] == stateful["spec"]["selector"]["matchLabels"] == labels
    assert policy["spec"]["podSelector"]["matchLabels"].items() <= labels.items()
    assert stateful["spec"]["serviceName"] == service["metadata"]["name"]
    assert secret["secretName"] == files[None]["data"]["metadataSecretName"]


@pytest.mark.slow
def test_kubernetes_accepts_postgresql_but_not_a_misspelled_field(linters, deploy, tmp_path):
    file = tmp_path / "postgresql.yaml"
    file.write_text((deploy / "postgresql.yaml").read_text())
    command = [linters / "kubernetes-validate", "--strict", "-k", KUBERNETES, file]
    run(*command, cwd=tmp_path)
    edit(file, "readOnlyRootFilesystem", "readOnlyRootFileSystem")
    done = run(*command, cwd=tmp_path, check=False)
    assert done.returncode != 0 and "readOnlyRootFileSystem" in done.stdout + done.stderr


@pytest.mark.slow
def test_checkov_finds_nothing_in_postgresql_but_exceptions_with_a_reason(linters, deploy):
    results = checkov(linters, deploy / "postgresql.yaml")
    assert [(each["check_id"], each["resource"]) for each in results["failed_checks"]] == []
    skipped = {each["check_id"]: each["check_result"] for each in results["skipped_checks"]}
    assert set(skipped) == {"CKV_K8S_15", "CKV_K8S_21", "CKV_K8S_40"}
    assert all(len(each["suppress_comment"]) > 20 for each in skipped.values())
    assert len(results["passed_checks"]) > 80


@pytest.mark.slow
def test_kubernetes_accepts_all_manifests_of_the_chart(rendered, linters):
    [folder] = {path.parent for path in rendered.values()}
    command = [linters / "kubernetes-validate", "--strict", "-k", KUBERNETES]
    done = run(*command, *sorted(rendered.values()), cwd=folder)
    warnings = [line for line in (done.stdout + done.stderr).splitlines() if "WARN" in line]
    assert [line for line in warnings if not any(kind in line for kind in CRDS)] == []


@pytest.mark.slow
def test_all_pods_are_restricted_and_say_what_they_need(rendered):
    for choice, path in rendered.items():
        for name, pod in pods(manifests(path.read_text())):
            where = (choice, name)
            assert pod["securityContext"]["runAsNonRoot"] is True, where
            assert pod["securityContext"]["runAsUser"] > 0, where
            assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, where
            for container in [*(pod.get("initContainers") or []), *pod["containers"]]:
                context = container["securityContext"]
                assert context["allowPrivilegeEscalation"] is False, where
                assert context["capabilities"] == {"drop": ["ALL"]}, where
                assert context.get("runAsUser", 1) > 0, where
                for amounts in ("requests", "limits"):
                    assert set(container["resources"][amounts]) == {"cpu", "memory"}, where


@pytest.mark.slow
def test_names_of_two_installations_differ(template, choices):
    most = max(choices, key=lambda choice: len(choice.extras))
    one, other = (
        {
            (each["kind"], each["metadata"]["name"])
            for each in manifests(template(most.overlays, release))
        }
        for release in ("one", "two")
    )
    assert len(one) > 30 and one & other == set()


@pytest.mark.slow
@pytest.mark.parametrize("executor", EXECUTORS)
def test_installation_warns_about_nothing_else_and_prints_no_password(executor, template, choices):
    *_, most = [choice for choice in choices if choice.executor == executor]
    printed = template(most.overlays, "space-flights", "install", "--dry-run=client")
    _, _, notes = printed.partition("\nNOTES:\n")
    assert "Thank you for installing Apache Airflow 3.3" in notes
    # The warning that logs go with the pods.
    assert notes.count("WARNING") == (executor == "executor-kubernetes")
    assert "password: see the key admin-password of the secret space-flights-keys" in notes


@pytest.mark.slow
def test_no_pod_is_a_hook_that_would_block_waiting(rendered):
    for choice, path in rendered.items():
        for each in manifests(path.read_text()):
            hook = "helm.sh/hook" in each["metadata"].get("annotations", {})
            assert not hook or not list(pods([each])), (choice, each["metadata"]["name"])


@pytest.mark.slow
def test_workers_and_schedulers_that_serve_logs_have_stable_names_and_volumes(rendered):
    for choice, path in rendered.items():
        executor = choice.executor or "executor-local"
        part = "worker" if "celery" in executor else "scheduler"
        objects = {
            (each["kind"], each["metadata"]["name"]): each for each in manifests(path.read_text())
        }
        name = f"space-flights-{part}"
        if executor == "executor-kubernetes":
            assert ("Deployment", name) in objects
        else:
            stateful = objects["StatefulSet", name]["spec"]
            assert objects["Service", stateful["serviceName"]]["spec"]["clusterIP"] == "None"
            assert [each["metadata"]["name"] for each in stateful["volumeClaimTemplates"]] == [
                "logs"
            ]


@pytest.mark.slow
def test_high_availability_runs_two_of_each_service_and_keeps_one(rendered):
    services = {f"space-flights-{name}" for name in HIGHLY_AVAILABLE}
    for choice, path in rendered.items():
        if "high-availability" in choice.extras:
            objects = manifests(path.read_text())
            two = {
                each["metadata"]["name"]
                for each in objects
                if each.get("spec", {}).get("replicas") == 2
            }
            budgets = {
                each["metadata"]["name"].removesuffix("-pdb"): each["spec"]["maxUnavailable"]
                for each in objects
                if each["kind"] == "PodDisruptionBudget"
            }
            assert services <= two, choice
            assert budgets == dict.fromkeys(budgets, 1) and services <= set(budgets), choice


@pytest.mark.slow
def test_whatever_starts_pods_may_do_so(rendered):
    for choice, path in rendered.items():
        objects = manifests(path.read_text())
        [binding] = [
            each
            for each in objects
            if each["kind"] == "RoleBinding" and "pod-launcher" in each["metadata"]["name"]
        ]
        bound = {
            subject["name"].removeprefix("space-flights-airflow-")
            for subject in binding["subjects"]
        }
        by_executor = {
            "executor-kubernetes": {"scheduler", "worker"},
            "executor-celery-redis": {"worker"},
            "executor-celery-rabbitmq": {"worker"},
        }
        assert bound == by_executor.get(choice.executor, {"scheduler"}) | {"triggerer"}, choice


@pytest.mark.slow
def test_each_overlay_can_follow_each_other_one(rendered):
    fixed: dict[tuple[str, str], set[str]] = {}
    workloads: dict[str, set[str]] = {}
    for path in rendered.values():
        for each in manifests(path.read_text()):
            kind, name, spec = each["kind"], each["metadata"]["name"], each.get("spec", {})
            if kind == "RoleBinding":
                parts = each["roleRef"]
            elif kind in CHANGEABLE:
                parts = {key: spec[key] for key in spec.keys() - CHANGEABLE[kind]}
            else:
                parts = each.get("immutable")
            fixed.setdefault((kind, name), set()).add(json.dumps(parts, sort_keys=True))
            if kind in ("DaemonSet", "Deployment", "Job", "StatefulSet"):
                workloads.setdefault(name.removeprefix("space-flights-"), set()).add(kind)
    assert {each for each, variants in fixed.items() if len(variants) > 1} == set()
    # helm removes the one that it no longer renders, and Airflow may have both meanwhile.
    changing = {name: kinds for name, kinds in workloads.items() if len(kinds) > 1}
    assert changing == {"scheduler": {"Deployment", "StatefulSet"}}
    # release.py deletes them before.
    jobs = {name for name, kinds in workloads.items() if "Job" in kinds}
    assert jobs == {"create-user", "run-airflow-migrations"}


@pytest.mark.slow
def test_values_and_manifests_ask_for_the_same(rendered, files, needs):
    for choice, path in rendered.items():
        found = needs(manifests(path.read_text()))
        values = reduce(merge, [files[name] for name in [None, *choice.overlays]])
        expected = needs_of_values(values)
        assert found["cpu"] == pytest.approx(expected["cpu"]), choice
        assert found["memory"] / 2**20 == pytest.approx(expected["memory"]), choice


@pytest.mark.slow
def test_everything_fits_into_the_quotas(rendered):
    for path in rendered.values():
        objects = manifests(path.read_text())
        if quotas := [each["spec"]["hard"] for each in objects if each["kind"] == "ResourceQuota"]:
            [hard] = quotas
            sums = dict.fromkeys(
                ("requests.cpu", "requests.memory", "limits.cpu", "limits.memory"), 0.0
            )
            for each in objects:
                for _, pod in pods([each]):
                    for container in pod["containers"]:
                        for key in sums:
                            amounts, resource = key.split(".")
                            amount = container["resources"][amounts][resource]
                            measure = cores if resource == "cpu" else mebibytes
                            sums[key] += measure(amount) * each.get("spec", {}).get("replicas", 2)
            for key, amount in sums.items():
                measure = cores if key.endswith("cpu") else mebibytes
                assert 2 * amount <= measure(hard[key]), key
