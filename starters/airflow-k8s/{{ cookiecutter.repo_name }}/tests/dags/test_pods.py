"""Kubernetes would accept the pods of all tasks, even in a restricted namespace."""

import runpy

import pytest
from airflow.providers.cncf.kubernetes.pod_generator import PodGenerator
from kubernetes import client


@pytest.fixture
def pods(dag_file, monkeypatch):
    monkeypatch.setenv("KEDRO_IMAGE", "image")
    tasks = runpy.run_path(str(dag_file))["dag"].tasks
    return {task.task_id: task.pod("python") for task in tasks}


def test_pods_have_no_misspelled_fields(pods):
    for task_id, pod in pods.items():
        read = PodGenerator.deserialize_model_dict(pod)
        known = client.ApiClient().sanitize_for_serialization(read)
        assert known == pod, f"task {task_id} has fields unknown to Kubernetes: see dags/pod.yaml"


def test_pods_meet_the_restricted_pod_security_standard(pods):
    for task_id, pod in pods.items():
        spec, [container] = pod["spec"], pod["spec"]["containers"]
        why = f"see the pod security context of task {task_id} in dags/pod.yaml"
        assert spec["securityContext"]["runAsNonRoot"] is True, why
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, why
        assert container["securityContext"]["allowPrivilegeEscalation"] is False, why
        assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}, why
        assert not {"hostNetwork", "hostPID", "hostIPC"} & spec.keys(), why
        assert not any("hostPath" in volume for volume in spec["volumes"]), why
