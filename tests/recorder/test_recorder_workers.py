"""The worker reader: every log once, and a refusal explained as far as it can be."""

import threading
from collections.abc import Callable

from msgspec.structs import replace

from oracle.events import PodEvent, WorkerEvent
from recorder.stream import Stream
from recorder.workers import WorkerReader

POD = PodEvent(2.0, "modified", "p", "u", phase="Failed", exit_code=1)
AMBIGUOUS = (
    "ti=TaskInstance(id=UUID('019a0000-0000-7000-8000-000000000001')\nin _on_child_started\n"
    "airflow.sdk.api.client.ServerResponseError: Server returned error\n"
)


def outcomes(
    pod_log: Callable[[str], str | None], pod: PodEvent, there: bool = True
) -> tuple[list[WorkerEvent], list[str]]:
    stream = Stream(lambda: 9.0)
    reader = WorkerReader(pod_log, lambda _: (there, "running" if there else None), stream)
    reader.ended(pod)
    stop = threading.Event()
    stop.set()
    reader.run(stop)
    events = stream.after(0)[1]
    assert stream.gaps == []
    return [event for event in events if isinstance(event, WorkerEvent)], reader.unread


def test_a_worker_s_end_is_told_at_the_time_its_pod_ended() -> None:
    (worker,), unread = outcomes(lambda _: "all is well", POD)
    assert (worker.t, worker.pod, worker.exit_code, worker.refused) == (2.0, "p", 1, None)
    assert unread == []


def test_a_refusal_that_the_log_does_not_explain_is_explained_by_the_row() -> None:
    (there,), _ = outcomes(lambda _: AMBIGUOUS, POD)
    (gone,), _ = outcomes(lambda _: AMBIGUOUS, POD, there=False)
    assert there.refused is not None
    assert gone.refused is not None
    assert (there.refused.status, there.refused.reason) == (409, "invalid_state")
    assert (gone.refused.status, gone.refused.reason) == (404, "not_found")


def test_who_ended_well_was_not_refused_whatever_its_log_says_of_an_xcom() -> None:
    detail = '{"reason":"not_found","message":"XCom with key=\'return_value\' not found"}'
    log = f'{{"event":"XCom not found","detail":{detail},"status_code":404}}\n'
    (well,), _ = outcomes(lambda _: log, replace(POD, exit_code=0))
    (badly,), _ = outcomes(lambda _: log, POD)
    assert well.refused is None
    assert badly.refused is not None


def test_a_log_that_can_be_read_only_later_is_read_later() -> None:
    tries = iter([OSError("not yet"), OSError("not yet")])

    def pod_log(_: str) -> str:
        for error in tries:
            raise error
        return "all is well"

    (worker,), unread = outcomes(pod_log, POD)
    assert worker.refused is None
    assert unread == []


def test_a_log_that_cannot_be_read_or_is_gone_is_told() -> None:
    def broken(_: str) -> str:
        raise OSError("broken")

    for pod_log in (broken, lambda _: None):
        (worker,), unread = outcomes(pod_log, POD)
        assert worker.exit_code == 1
        assert len(unread) == 1


def test_a_pod_that_never_ran_has_no_worker_and_no_log() -> None:
    never = PodEvent(2.0, "deleted", "p", "u", phase="Pending")
    assert outcomes(lambda _: None, never) == ([], [])


def test_a_log_that_went_with_a_deleted_pod_is_no_loss() -> None:
    killed = PodEvent(2.0, "modified", "p", "u", phase="Failed", exit_code=143, deleting=True)
    vanished = PodEvent(2.0, "deleted", "p", "u", phase="Running")
    for pod in (killed, vanished):
        (worker,), unread = outcomes(lambda _: None, pod)
        assert worker.refused is None
        assert unread == []
