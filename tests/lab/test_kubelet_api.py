"""How the kubelet takes an API server's refusals, lost answers and expired watches."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lab.kubeapi.kubeconfig import write_kubeconfig
from tests.lab.answering import Answer, Request, answering
from tests.lab.kubelets import eventually, kubelet_of

EXPIRED = {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old"}
PODS = "/api/v1/namespaces/airflow/pods"


class Script:
    """An API server with one pod, which fails as a test wants; `statuses` are what was reported."""

    def __init__(self) -> None:
        self.listed = False
        self.bound_to: str | None = None
        self.statuses: list[dict[str, Any]] = []
        self.deletions: list[dict[str, Any]] = []
        self.failures: dict[str, list[Answer]] = {}

    def answer(self, request: Request) -> Answer:
        path = request.path.partition("?")[0]
        what = path.removeprefix(PODS) or ("watch" if "watch=" in request.path else "list")
        if what == "/p/binding":  # takes effect even if the answer below says otherwise
            self.bound_to = request.body["target"]["name"]
        if request.method == "DELETE":
            self.deletions.append(request.body)
        planned = self.failures.get(what)
        if planned:
            return planned.pop(0)
        if what == "list":
            items = [self.pod()] if self.listed else []
            return Answer(body={"metadata": {"resourceVersion": "5"}, "items": items})
        if what == "watch":
            return Answer(body=())
        if what == "/p/status":
            self.statuses.append(request.body["status"])
        return Answer(body=self.pod())

    def pod(self) -> dict[str, Any]:
        spec: dict[str, Any] = {"containers": [{"name": "base", "args": ["true"]}]}
        if self.bound_to:
            spec["nodeName"] = self.bound_to
        return {"metadata": {"name": "p", "uid": "u"}, "spec": spec}

    def phases(self) -> list[str]:
        return [status["phase"] for status in self.statuses]


def removed(pod: dict[str, Any]) -> dict[str, Any]:
    """Return the last version of another pod before the API removes it: it has ended."""
    mark = {"deletionTimestamp": "2026-01-01T00:00:00Z", "deletionGracePeriodSeconds": 0}
    gone = {"metadata": {"name": "gone", "uid": "gone", **mark}, "status": {"phase": "Succeeded"}}
    return {**pod, **gone}


@contextmanager
def kubelet_against(script: Script, directory: Path) -> Iterator[None]:
    with answering(script.answer) as (url, _):
        kubeconfig = write_kubeconfig(directory / "kubeconfig", url)
        with kubelet_of(kubeconfig, "airflow", directory, directory):
            yield


def test_an_expired_watch_event_makes_it_list_anew(tmp_path: Path) -> None:
    script = Script()
    script.failures["watch"] = [Answer(body=({"type": "ERROR", "object": EXPIRED},))]
    with kubelet_against(script, tmp_path):
        script.listed = True
        eventually(lambda: script.phases()[-1:] == ["Succeeded"])


def test_a_watch_refused_as_expired_makes_it_list_anew(tmp_path: Path) -> None:
    script = Script()
    script.failures["watch"] = [Answer(410, EXPIRED)]
    with kubelet_against(script, tmp_path):
        script.listed = True
        eventually(lambda: script.phases()[-1:] == ["Succeeded"])


def test_a_watch_that_breaks_is_resumed_without_a_list(tmp_path: Path) -> None:
    script = Script()
    script.failures["watch"] = [
        Answer(503),
        Answer(body=({"type": "ADDED", "object": script.pod()},)),
    ]
    script.failures["list"] = [Answer(body={"metadata": {"resourceVersion": "5"}, "items": []})]
    with kubelet_against(script, tmp_path):
        eventually(lambda: script.phases()[-1:] == ["Succeeded"])


def test_a_binding_whose_answer_was_lost_is_recognised(tmp_path: Path) -> None:
    script = Script()
    script.listed = True
    script.failures["/p/binding"] = [Answer(500), Answer(409, {"code": 409})]
    with kubelet_against(script, tmp_path):
        # Where the machine is busy, it has ended before it was told of.
        eventually(lambda: script.phases()[-1:] == ["Succeeded"])


def test_a_pod_that_another_bound_is_left_to_them(tmp_path: Path) -> None:
    script = Script()
    script.listed = True
    script.failures["/p/binding"] = [Answer(409, {"code": 409})]
    script.failures["/p"] = [
        Answer(body={**script.pod(), "spec": {**script.pod()["spec"], "nodeName": "theirs"}})
    ]
    with kubelet_against(script, tmp_path):
        eventually(lambda: not script.failures["/p"])
    assert script.statuses == []


def test_a_status_is_reported_until_it_is_taken(tmp_path: Path) -> None:
    script = Script()
    script.listed = True
    script.failures["/p/status"] = [Answer(500), Answer(429), Answer(503)]
    with kubelet_against(script, tmp_path):
        eventually(lambda: script.phases()[-1:] == ["Succeeded"])
    assert script.failures["/p/status"] == []
    (container,) = script.statuses[-1]["containerStatuses"]
    assert container["state"]["terminated"]["reason"] == "Completed"


def test_an_api_server_that_is_not_there_yet_is_waited_for(tmp_path: Path) -> None:
    script = Script()
    script.listed = True
    script.failures["list"] = [Answer(503), Answer(503)]
    with kubelet_against(script, tmp_path):
        eventually(lambda: script.phases()[-1:] == ["Succeeded"])


def test_a_pod_that_the_api_removes_itself_is_not_deleted_once_more(tmp_path: Path) -> None:
    script = Script()
    seen: Any = [{"type": "MODIFIED", "object": removed(script.pod())}]
    seen += [{"type": "ADDED", "object": script.pod()}]
    script.failures["watch"] = [Answer(body=tuple(seen))]
    with kubelet_against(script, tmp_path):
        eventually(lambda: script.phases()[-1:] == ["Succeeded"])
    assert script.deletions == []


def test_a_pod_that_a_dead_api_server_left_unremoved_is_deleted(tmp_path: Path) -> None:
    script = Script()
    listed = {"metadata": {"resourceVersion": "5"}, "items": [removed(script.pod())]}
    script.failures["list"] = [Answer(body=listed)]
    with kubelet_against(script, tmp_path):
        eventually(lambda: len(script.deletions) == 1)
    assert script.deletions[0]["preconditions"] == {"uid": "gone"}
