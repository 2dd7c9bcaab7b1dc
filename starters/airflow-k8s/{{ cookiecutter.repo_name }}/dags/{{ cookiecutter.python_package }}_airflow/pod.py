"""Tasks in pods: pod.yaml in the folder above, with the settings in airflow.yml.

With ``runner: pod``, a task starts a pod with Airflow's KubernetesPodOperator; only tasks import
that, as it takes seconds. With ``runner: executor``, the tasks themselves are pods.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta, timezone
from importlib.util import find_spec
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from airflow.configuration import conf

from . import dag
from .dag import AirflowFailException, KedroOperator

if TYPE_CHECKING:
    from airflow.providers.cncf.kubernetes.operators.pod import KubernetesPodOperator
    from airflow.sdk import DAG

POD = Path(__file__).resolve().parents[1] / "pod.yaml"
SERVICE_ACCOUNT_TOKEN = Path("/var/run/secrets/kubernetes.io/serviceaccount/token")


class PodSettings(KedroOperator):
    """A task with the settings of its pod.

    Args:
        image: None means the project's, which the environment variable KEDRO_IMAGE names.
        cpu, memory: Kubernetes quantities, the request and the limit; a single one is both.
        gpu: number of nvidia.com/gpu.
        storage: where the data is; unless it is a URL, the claim ``volume`` is mounted there.
        volumes: the paths where more claims are mounted, by the claims' names.
        env: the values of environment variables, by name.
        secrets, config_maps: names; all their keys become environment variables.
        keep_failed_pods: False removes them, like pods that have succeeded.
        startup_timeout: how long the pod's container may take to start.
    """

    def __init__(
        self,
        *,
        image: str | None = None,
        cpu: Sequence[str] = ("1",),
        memory: Sequence[str] = ("1Gi",),
        gpu: int = 0,
        storage: str = "data",
        volume: str | None = None,
        volumes: Mapping[str, str] | None = None,
        env: Mapping[str, str] | None = None,
        secrets: Sequence[str] = (),
        config_maps: Sequence[str] = (),
        node_selector: Mapping[str, str] | None = None,
        tolerations: Sequence[Mapping[str, Any]] = (),
        service_account: str | None = None,
        pull_secrets: Sequence[str] = (),
        labels: Mapping[str, str] | None = None,
        keep_failed_pods: bool = False,
        startup_timeout: timedelta = timedelta(minutes=10),
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.image = image
        self.requests = {"cpu": cpu[0], "memory": memory[0]}
        self.limits = {"cpu": cpu[-1], "memory": memory[-1]}
        if gpu:
            self.limits["nvidia.com/gpu"] = str(gpu)
        self.volumes = dict(volumes or {})
        if volume and "://" not in storage:
            self.volumes[volume] = storage
        self.env = [{"name": name, "value": value} for name, value in (env or {}).items()]
        self.env_from = [{"secretRef": {"name": name}} for name in secrets]
        self.env_from += [{"configMapRef": {"name": name}} for name in config_maps]
        self.node_selector = node_selector
        self.tolerations = tolerations
        self.service_account = service_account
        self.pull_secrets = [{"name": name} for name in pull_secrets]
        self.labels = labels
        self.keep_failed_pods = keep_failed_pods
        self.startup_timeout = startup_timeout

    def pod(self, *command: str) -> dict[str, Any]:
        """Describe the task's pod as a Kubernetes manifest.

        Raises:
            AirflowFailException: there is no image.
        """
        import yaml

        pod: dict[str, Any] = yaml.safe_load(POD.read_text(encoding="utf-8"))
        spec = pod["spec"]
        container = spec["containers"][0]
        image = self.image or os.environ.get("KEDRO_IMAGE")
        if not image:
            raise AirflowFailException(
                "The pod has no image: set KEDRO_IMAGE for all of Airflow (env in "
                "deploy/values.yaml), or image in conf/airflow/airflow.yml."
            )
        container["image"] = image
        if command:
            container["command"] = list(command)
        container["resources"] = {"requests": self.requests, "limits": self.limits}
        add(container, "env", self.env)
        add(container, "envFrom", self.env_from)
        folder = PurePosixPath(container.get("workingDir", "/"))
        for number, (claim, path) in enumerate(self.volumes.items(), start=1):
            volume = {"name": f"claim-{number}"}
            add(container, "volumeMounts", [volume | {"mountPath": str(folder / path)}])
            add(spec, "volumes", [volume | {"persistentVolumeClaim": {"claimName": claim}}])
        add(spec, "tolerations", self.tolerations)
        add(spec, "imagePullSecrets", self.pull_secrets)
        if self.node_selector:
            spec["nodeSelector"] = spec.get("nodeSelector", {}) | self.node_selector
        if self.service_account:
            spec["serviceAccountName"] = self.service_account
        if self.labels:
            pod["metadata"]["labels"] |= self.labels
        return pod


def add(owner: dict[str, Any], field: str, items: Sequence[Any]) -> None:
    """Add items to a list in a manifest, which may not exist yet."""
    if items:
        owner[field] = [*owner.get(field, []), *items]


def ending(pod: Any) -> str | None:
    """Say why Kubernetes ended a pod, or None if the pod's own output says why it failed."""
    conditions = [each for each in pod.status.conditions or [] if each.type == "DisruptionTarget"]
    for cause in (pod.status, *conditions):
        if cause.reason:
            return f"Kubernetes ended the pod ({cause.reason}): {cause.message}"
    if pod.metadata.deletion_timestamp:
        return "The pod was deleted before it was done."
    for container in pod.status.container_statuses or []:
        if container.state.terminated and container.state.terminated.reason == "OOMKilled":
            return (
                "The pod needed more memory than its limit: raise `memory` in "
                "conf/airflow/airflow.yml, then `make dag`."
            )
    return None


class PodOperator(PodSettings):
    """Starts a pod, and leaves it to the triggerer until it finishes."""

    kubernetes: KubernetesPodOperator | None = None

    def execute(self, context: Any, event: Any = None) -> None:
        """Start the pod, or find the one that an interrupted try started."""
        self.kubernetes = self.kubernetes_operator(context)
        try:
            self.kubernetes.execute_async(context)
        except Exception as error:
            waited = datetime.now(timezone.utc) - context["ti"].start_date
            if "exceeded quota" in str(error) and waited < self.startup_timeout:
                self.wait_for_quota()
            raise

    def wait_for_quota(self) -> None:
        """Start the pod in a minute, and take no slot until then."""
        from airflow.providers.standard.triggers.temporal import TimeDeltaTrigger

        self.log.warning("The namespace's quota has no room for the pod: next attempt in a minute.")
        self.defer(trigger=TimeDeltaTrigger(timedelta(minutes=1)), method_name="execute")

    def trigger_reentry(self, context: Any, event: dict[str, Any]) -> None:
        """Log the pod's output, remove the pod, and fail if it failed."""
        from airflow.providers.cncf.kubernetes.utils.pod_manager import PodNotFoundException
        from kubernetes.client import V1ObjectMeta, V1Pod

        self.kubernetes = self.kubernetes_operator(context)
        try:
            self.kubernetes.trigger_reentry(context, event)
        except PodNotFoundException:
            pod = V1Pod(metadata=V1ObjectMeta(name=event["name"], namespace=event["namespace"]))
            events = self.kubernetes.pod_manager.read_pod_events(pod).items
            last = ", ".join(f"{each.reason} ({each.message})" for each in events[-2:])
            self.log.error("The pod was deleted before it was done. Its last events: %s", last)
            raise
        except Exception:
            if self.kubernetes.pod and (reason := ending(self.kubernetes.pod)):
                self.log.error(reason)
            raise

    def on_kill(self) -> None:
        """Remove the pod."""
        if self.kubernetes:
            self.kubernetes.on_kill()

    def kubernetes_operator(self, context: Any) -> KubernetesPodOperator:
        """Create the Airflow operator that does the work."""
        from airflow.providers.cncf.kubernetes.kubernetes_helper_functions import generic_api_retry
        from airflow.providers.cncf.kubernetes.operators.pod import KubernetesPodOperator

        # Kubernetes would replace $(NAME) with the pod's environment variable.
        work = self.run_in(context).to_json().replace("$", r"\u0024")
        seconds = int(self.startup_timeout.total_seconds())
        operator = KubernetesPodOperator(
            task_id=self.task_id,
            kubernetes_conn_id=None,  # the cluster in KUBECONFIG, or the one Airflow runs in
            config_file=os.environ.get("KUBECONFIG"),
            in_cluster=SERVICE_ACCOUNT_TOKEN.is_file() and "KUBECONFIG" not in os.environ,
            pod_template_dict=self.pod("python", "-m", f"dags.{__package__}.run", work),
            deferrable=True,
            execution_timeout=self.execution_timeout,
            startup_timeout_seconds=seconds,
            schedule_timeout_seconds=seconds,
            on_finish_action="delete_succeeded_pod" if self.keep_failed_pods else "delete_pod",
            termination_message_policy="FallbackToLogsOnError",
            log_events_on_failure=True,
            log_pod_spec_on_failure=False,
        )
        # The operator asks again after a 429 or a 500, but not here: the pod would run twice.
        operator.hook.get_pod = generic_api_retry(operator.hook.get_pod)  # type: ignore
        return operator


class ExecutorOperator(PodSettings):
    """Runs in the pod that KubernetesExecutor starts for it; the image needs Airflow.

    With any other executor, as in a local Airflow, it runs in the task's own process.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        in_its_pod = "AIRFLOW_IS_K8S_EXECUTOR_POD" in os.environ
        if "KubernetesExecutor" in conf.get("core", "executor") and not in_its_pod:
            from airflow.providers.cncf.kubernetes.pod_generator import PodGenerator

            pod = PodGenerator.deserialize_model_dict(self.pod())
            self.executor_config = {"pod_override": pod}

    def execute(self, context: Any) -> None:
        """Run the nodes here."""
        if not find_spec("kedro"):
            raise AirflowFailException(
                "Kedro is not installed where this task runs. `runner: executor` needs "
                "KubernetesExecutor: deploy with overlays/executor-kubernetes.yaml."
            )
        super().execute(context)


def create_dag(dag_id: str, *, runner: str = "pod", **arguments: Any) -> DAG:
    """Create a DAG as ``dag.create_dag`` does, with the operator for a runner.

    The environment variable KEDRO_RUNNER, if set, overrides ``runner``.
    """
    operators: dict[str, type[KedroOperator]] = {"pod": PodOperator, "executor": ExecutorOperator}
    operator = operators[os.environ.get("KEDRO_RUNNER") or runner]
    return dag.create_dag(dag_id, operator=operator, **arguments)
