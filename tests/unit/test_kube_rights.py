"""What a role may not do is told in one line, with the verb, the resource and the namespace."""

import json
import logging
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes
import pytest
from kubernetes.client import ApiException

from common.errors import UserError
from lab.cluster.database import locate
from lab.cluster.discovery import discover
from lab.cluster.plan import reported_version
from lab.cluster.rights import with_rights
from lab.kube import execs
from lab.kube.channels import ChannelRefused
from lab.kube.failures import explained, missing_rule
from lab.kube.logs import LogFollower
from tests.deployment.release import release
from tests.deployment.standin import NAMESPACE, StandIn

USER = "system:serviceaccount:airflow:reader"


@pytest.fixture
def there() -> Iterator[StandIn]:
    with StandIn(release()) as standin:
        yield standin


def forbidden(message: str) -> ApiException:
    error = ApiException(status=403, reason="Forbidden")
    error.body = json.dumps({"kind": "Status", "message": message})
    return error


def denial(what: str, group: str = "", where: str = ' in the namespace "prod"') -> str:
    verb, _, resource = what.partition(" ")
    asked = f'cannot {verb} resource "{resource}" in API group "{group}"'
    return f'x is forbidden: User "u" {asked}{where}'


@pytest.mark.parametrize(
    ("message", "rule"),
    [
        (denial("get secrets"), "`get secrets` in namespace prod"),
        (denial("get pods/log"), "`get pods/log` in namespace prod"),
        (denial("list deployments", "apps"), "`list deployments.apps` in namespace prod"),
        (
            denial("patch deployments/scale", "apps"),
            "`patch deployments.apps/scale` in namespace prod",
        ),
        (
            denial("list nodes", where=" at the cluster scope"),
            "`list nodes` in the whole cluster (a ClusterRole)",
        ),
        (denial("get pods") + ": requires one of [x]", "`get pods` in namespace prod"),
        ("admission webhook denied the request: no", ""),
    ],
)
def test_the_rule_that_is_missing_is_read_from_the_answer(message: str, rule: str) -> None:
    error = forbidden(message)
    assert missing_rule(error) == rule
    told = explained(error, "It cannot be done")
    if rule:
        assert str(told) == f"It cannot be done: u may not. Allow {rule}."
    else:
        assert str(told).startswith(f"It cannot be done: the cluster forbids it: {message}")


def test_what_is_no_denial_has_no_rule() -> None:
    assert missing_rule(ApiException(status=404, reason=denial("get pods"))) == ""
    assert missing_rule(OSError(denial("get pods"))) == ""
    text = str(explained(ApiException(status=500, reason="Internal Server Error"), "It failed"))
    assert text == "It failed: 500 Internal Server Error"


def test_an_answer_s_secrets_are_not_told() -> None:
    error = ApiException(status=403, reason="Forbidden")
    error.body = '{"message": "denied: password=hunter2"}'
    assert "hunter2" not in str(explained(error, "x"))


def _attach(client: Any) -> None:
    found = discover(client, NAMESPACE)
    locate(client, found)
    reported_version(client, with_rights(client, found))


@pytest.mark.parametrize(
    ("verb", "resource", "said"),
    [
        ("list", "pods", "Namespace airflow cannot be looked into"),
        ("get", "configmaps", "ConfigMap airflow-config in airflow cannot be read"),
        ("get", "secrets", "Secret airflow-metadata in airflow cannot be read"),
        ("watch", "pods", "The worker pods in airflow cannot be watched"),
        ("get", "pods/portforward", "does not answer through a port-forward"),
    ],
)
def test_what_attaching_needs_is_refused_with_the_rule(
    there: StandIn, verb: str, resource: str, said: str
) -> None:
    there.deny(verb, resource)
    with pytest.raises(UserError) as caught:
        _attach(there.client())
    text = str(caught.value)
    assert said in text
    assert f"{USER} may not. Allow `{verb} {resource}` in namespace airflow." in text
    assert "\n" not in text


def test_a_port_forward_says_why_it_does_not_lead_to_a_pod(there: StandIn) -> None:
    client = there.client()
    found = discover(client, NAMESPACE)
    there.remove("Pod", "airflow-api-server-1")
    with pytest.raises(UserError, match="no running pod matches component=api-server") as caught:
        reported_version(client, found)
    assert "Look at its pod" in str(caught.value)


def test_without_logs_a_deployment_is_watched_and_that_is_told(there: StandIn) -> None:
    client = there.client()
    found = discover(client, NAMESPACE)
    assert with_rights(client, found) == found
    there.deny("get", "pods/log")
    unseen = "what components and workers log: it takes `get pods/log` in namespace airflow"
    assert with_rights(client, found).not_covered == (unseen,)


def test_logs_that_are_denied_are_told_once(
    there: StandIn, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: Any
) -> None:
    monkeypatch.setattr("lab.kube.logs._POLL", 0.05)
    there.deny("get", "pods/log")
    with caplog.at_level(logging.WARNING):
        _follow(there, tmp_path)
    assert caplog.text.count("Allow `get pods/log` in namespace airflow.") == 1
    caplog.clear()
    there.deny("list", "pods")
    with caplog.at_level(logging.WARNING):
        _follow(there, tmp_path)
    assert caplog.text.count("Allow `list pods` in namespace airflow.") == 1


def _follow(there: StandIn, folder: Path) -> None:
    follower = LogFollower(there.client(), NAMESPACE, "", folder)
    before = len(there.asked)
    follower.start()
    deadline = time.monotonic() + 10
    while len(there.asked) < before + 10 and time.monotonic() < deadline:
        time.sleep(0.02)
    follower.stop()


def test_a_command_that_is_denied_is_told(there: StandIn, monkeypatch: Any) -> None:
    def refused(*_: Any, **__: Any) -> Any:
        raise ChannelRefused(403, denial("get pods/exec"))

    monkeypatch.setattr(execs, "open_channels", refused)
    with pytest.raises(UserError, match="Allow `get pods/exec` in namespace prod") as caught:
        execs.run(there.client(), NAMESPACE, "p", None, ["true"])
    assert caught.value.message == "true in p cannot be run: u may not."


def test_credentials_that_expire_in_the_midst_are_told(there: StandIn) -> None:
    client = there.client()
    found = discover(client, NAMESPACE)
    there.token = "another"
    for ask in (
        lambda: discover(client, NAMESPACE),
        lambda: locate(client, found),
        lambda: with_rights(client, found),
    ):
        with pytest.raises(UserError, match=r"does not accept the credentials \(401") as caught:
            ask()
        assert "Log in again" in caught.value.hint


def test_a_watch_that_an_older_client_does_not_raise_for_is_refused_too(there: StandIn) -> None:
    client = there.client()
    found = discover(client, NAMESPACE)
    there.deny("watch", "pods")
    core = kubernetes.client.CoreV1Api(client)
    with pytest.raises(ApiException):
        core.list_namespaced_pod(NAMESPACE, watch=True, _preload_content=False)
    with pytest.raises(UserError, match="Allow `watch pods`"):
        with_rights(client, found)
