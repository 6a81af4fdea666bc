"""Whoever waits for a deployment is told why it is not ready."""

import time
from typing import Any

import pytest
from kubernetes.client import AppsV1Api, BatchV1Api

from common.errors import UserError
from lab.kube.readiness import waiting, why_not_ready
from tests.cluster.kube_pods import create, eventually, pod


def wait_ready(core: Any, namespace: str, timeout: float, only: str) -> None:
    for _ in waiting(core, namespace, timeout, print, only):
        time.sleep(0.5)


def told(core: Any, namespace: str, name: str, *words: str) -> str:
    """Wait until what is told of a pod has all of the words; return it."""

    def has() -> str:
        said = "\n".join(why_not_ready(core, namespace, f"app={name}"))
        return said if all(word in said for word in words) else ""

    return str(eventually(has))


def test_an_image_that_is_not_there(kubernetes_api: Any, namespace: str) -> None:
    body = pod("no-image", "local/nosuch:1", imagePullPolicy="Never")
    create(kubernetes_api, namespace, body)
    begun = time.monotonic()
    with pytest.raises(UserError, match="ErrImageNeverPull") as caught:
        wait_ready(kubernetes_api, namespace, 60, "app=no-image")
    assert time.monotonic() - begun < 30
    assert "cannot become ready" in caught.value.message
    assert "local/nosuch:1" in caught.value.message


def test_a_pod_that_no_node_takes(kubernetes_api: Any, namespace: str, image: str) -> None:
    body = pod("too-big", image, resources={"requests": {"cpu": "900"}})
    create(kubernetes_api, namespace, body)
    told(kubernetes_api, namespace, "too-big", "no node takes it", "Insufficient cpu")


def test_a_secret_that_is_not_there(kubernetes_api: Any, namespace: str, image: str) -> None:
    body = pod("no-secret", image, envFrom=[{"secretRef": {"name": "missing-one"}}])
    create(kubernetes_api, namespace, body)
    told(kubernetes_api, namespace, "no-secret", "CreateContainerConfigError", "missing-one")


def test_a_secret_to_be_mounted_that_is_not_there(
    kubernetes_api: Any, namespace: str, image: str
) -> None:
    body = pod("no-mount", image, volumeMounts=[{"name": "v", "mountPath": "/v"}])
    body["spec"]["volumes"] = [{"name": "v", "secret": {"secretName": "missing-two"}}]
    create(kubernetes_api, namespace, body)
    told(kubernetes_api, namespace, "no-mount", "FailedMount", "missing-two")


def test_a_container_that_crashes_has_its_last_words_told_without_passwords(
    kubernetes_api: Any, namespace: str, image: str
) -> None:
    script = "echo cannot reach postgresql://user:hunter2@db/x >&2; exit 3"
    create(kubernetes_api, namespace, pod("crashing", image, "bash", "-c", script))
    said = told(kubernetes_api, namespace, "crashing", "CrashLoopBackOff", "exit code 3", "words")
    assert "cannot reach postgresql://***@db/x" in said
    assert "hunter2" not in said


def test_a_deployment_without_its_pods_is_told_with_the_event(
    kubernetes_api: Any, namespace: str, image: str
) -> None:
    template = pod("denied", image, "sleep", "60")
    template["spec"]["serviceAccountName"] = "missing-three"
    labels = {"app": "denied"}
    body = {
        "metadata": {"name": "denied", "labels": labels},
        "spec": {"selector": {"matchLabels": labels}, "template": template},
    }
    AppsV1Api(kubernetes_api.api_client).create_namespaced_deployment(namespace, body)
    told(kubernetes_api, namespace, "denied", "0 of 1 pods", "FailedCreate", "missing-three")


def test_a_failed_job_ends_the_wait_with_its_last_words(
    kubernetes_api: Any, namespace: str, image: str
) -> None:
    template = pod("migration", image, "bash", "-c", "echo no such table; exit 1")
    template["spec"]["restartPolicy"] = "Never"
    body = {
        "metadata": {"name": "migration", "labels": {"app": "migration"}},
        "spec": {"backoffLimit": 0, "template": template},
    }
    BatchV1Api(kubernetes_api.api_client).create_namespaced_job(namespace, body)
    with pytest.raises(UserError, match="the Job failed") as caught:
        wait_ready(kubernetes_api, namespace, 60, "app=migration")
    assert "no such table" in caught.value.message


def test_the_wait_ends_when_all_is_ready_and_tells_what_it_waits_for(
    kubernetes_api: Any, namespace: str, image: str
) -> None:
    heard: list[str] = []
    polls = waiting(kubernetes_api, namespace, 60, heard.append, "app=well")
    next(polls)
    assert heard == [f"{namespace}: no pods with app=well yet"]
    create(kubernetes_api, namespace, pod("well", image, "sleep", "600"))
    for _ in polls:
        time.sleep(0.1)
    assert why_not_ready(kubernetes_api, namespace, "app=well") == []


def test_the_wait_ends_after_its_time_with_the_reason(
    kubernetes_api: Any, namespace: str, image: str
) -> None:
    probe = {"exec": {"command": ["false"]}, "periodSeconds": 1}
    body = pod("unready", image, "sleep", "600", readinessProbe=probe)
    create(kubernetes_api, namespace, body)
    told(kubernetes_api, namespace, "unready", "runs and is not ready", "Unhealthy")
    with pytest.raises(UserError, match=r"not ready after 1 s(.|\n)*Unhealthy"):
        wait_ready(kubernetes_api, namespace, 1, "app=unready")
