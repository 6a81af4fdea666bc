"""Reads the log of every worker that ended, once, to learn whether it was refused its start.

What a refused worker writes differs by version (seen with real workers, all of which exit 1):

- 3.0: a JSON line "Server error" with the API's answer, then a plain traceback;
- 3.1: the traceback alone, so that 409 and 404 look the same;
- 3.2: one JSON line with the exceptions; `TaskAlreadyRunningError` if another one was running;
- 3.3: the same, with the API's answer as a Python repr in a note.

The API refuses other calls by the same words (a heartbeat, a last state), so a refusal counts only
where the log shows that it was the start: `_on_child_started`, or the start's own message.
"""

import queue
import re
import threading
from collections.abc import Callable

import msgspec
import psycopg
import tenacity

from common.redaction import CUT, excerpt
from oracle.events import PodEvent, Refusal, WorkerEvent
from recorder.stream import MOST_GAPS, Stream

PodLog = Callable[[str], str | None]
StateNow = Callable[[str], tuple[bool, str | None]]

_ATTEMPTS = 4

_QUOTE = r"""\\*['"]"""
_REASON = re.compile(rf"{_QUOTE}reason{_QUOTE}\s*:\s*{_QUOTE}(invalid_state|not_found){_QUOTE}")
_PREVIOUS = re.compile(rf"{_QUOTE}previous_state{_QUOTE}\s*:\s*(?:{_QUOTE}(\w+){_QUOTE}|null|None)")
_MESSAGE = re.compile(rf"{_QUOTE}message{_QUOTE}\s*:\s*{_QUOTE}([^'\"\\]+)")
_FRAME = re.compile(r"[\s│|]+")
_TASK_INSTANCE = re.compile(r"TaskInstance(?:DTO)?\(id=UUID\(\\*'([0-9a-f-]{36})")

_START = "_on_child_started"
_STARTS_OWN_WORDS = "could be marked as running"
_STATUS = {"invalid_state": 409, "not_found": 404}
_OTHER_CALLS = ("Traceback", '"exc_type"', "shouldn't be running anymore")
_ANSWERED = ("ServerResponseError: Server returned error", '"Server returned error"')
_RETRIED = "Starting call to '"
"""The client tries a call again after a 5xx only, and says so before each of those."""


class WorkerReader:
    """Turns pods that ended into worker events, in a thread of its own: logs may be slow to get.

    `state_now` tells of a task instance's id whether its row is there, and its state; it is asked
    where a log shows a refusal but not which one (Airflow 3.1, and 3.2 in part). `unread` says, in
    words, whose log could not be read: a refused start may have gone unnoticed there.
    """

    def __init__(self, pod_log: PodLog, state_now: StateNow, stream: Stream) -> None:
        self._pod_log = pod_log
        self._state_now = state_now
        self._stream = stream
        self.unread: list[str] = []
        self._ended: queue.SimpleQueue[PodEvent] = queue.SimpleQueue()

    def ended(self, pod: PodEvent) -> None:
        """Take in a pod whose worker will write no more; for any thread."""
        self._ended.put(pod)

    def run(self, stop: threading.Event) -> None:
        """Read log after log; returns when `stop` is set and none is left to read."""
        while True:
            try:
                pod = self._ended.get(timeout=0.1)
            except queue.Empty:
                if stop.is_set():
                    return
            else:
                self._read(pod)

    def finish(self) -> None:
        """Tell which logs are left, after `run`."""
        while not self._ended.empty():
            self._missing(f"the log of pod {self._ended.get().name} was not read in time")

    def _missing(self, text: str) -> None:
        if len(self.unread) < MOST_GAPS:
            self.unread.append(excerpt(text))
        self._stream.note(text)

    def _read(self, pod: PodEvent) -> None:
        try:
            log = self._log(pod.name)
        except tenacity.RetryError as error:
            reason = error.last_attempt.exception()
            self._missing(f"the log of pod {pod.name} could not be read: {reason}")
            log = None
        else:
            if log is None and pod.phase == "Pending":
                return
            if log is None and pod.exit_code != 0 and not _told_to_go(pod):
                self._missing(f"the log of pod {pod.name} is gone")
        # Who was refused ends with 1; who ended well may have been answered the same of an XCom.
        refused = self._explain(find_refusal(log), log) if log and pod.exit_code != 0 else None
        worker = WorkerEvent(
            pod.t, pod.name, pod.uid, pod.ti, pod.try_number, pod.exit_code, refused
        )
        self._stream.emit([worker])

    def _log(self, pod: str) -> str | None:
        """Return a pod's log; only what failed once comes to tenacity, which is not for nothing."""
        try:
            return self._pod_log(pod)
        except Exception:  # noqa: BLE001 - whatever a kind of lab fails with: the next says it
            return self._insist(pod)

    @tenacity.retry(
        stop=tenacity.stop_after_attempt(_ATTEMPTS), wait=tenacity.wait_exponential(0.05)
    )
    def _insist(self, pod: str) -> str | None:
        return self._pod_log(pod)

    def _explain(self, refused: Refusal | None, log: str) -> Refusal | None:
        """Tell 409 from 404 by the row, where the log does not: an id that is gone stays gone."""
        task_instance_id = find_task_instance_id(log)
        if refused is None or refused.reason is not None or task_instance_id is None:
            return refused
        try:
            there, state = self._state_now(task_instance_id)
        except psycopg.Error:
            return refused
        if there:
            message = (
                f"Server returned error; the row was there when the log was read, state {state}"
            )
            return msgspec.structs.replace(refused, reason="invalid_state", message=message)
        message = "Server returned error; no row had this id when the log was read"
        return Refusal(404, "not_found", None, message)


def _told_to_go(pod: PodEvent) -> bool:
    """Tell whether a pod was deleted before it ended: its log goes with it, and is no loss.

    A worker that was refused ends first, and is deleted then.
    """
    return pod.deleting or pod.op == "deleted"


def find_refusal(log: str) -> Refusal | None:
    """Return why a worker was not let start, None if it was (or failed for another reason).

    `reason` is None where the log does not tell 409 `invalid_state` from 404 `not_found`.
    """
    starting = _START in log
    if not starting and not any(reason in log for reason in _STATUS):
        return None
    for found in _REASON.finditer(log):
        answer = _FRAME.sub(" ", log[max(0, found.start() - CUT) : found.end() + CUT])
        if starting or _STARTS_OWN_WORDS in answer or not any(word in log for word in _OTHER_CALLS):
            return _explicit(found[1], answer)
    if not starting:
        return None
    if "TaskAlreadyRunningError" in log:
        return Refusal(409, "invalid_state", "running", "Task instance is already running")
    if _RETRIED not in log and any(words in log for words in _ANSWERED):
        return Refusal(409, None, None, "Server returned error")
    return None


def find_task_instance_id(log: str) -> str | None:
    """Return the id of the task instance that a worker was made for, by its first line."""
    found = _TASK_INSTANCE.search(log)
    return found[1] if found else None


def _explicit(reason: str, answer: str) -> Refusal:
    previous = _PREVIOUS.search(answer)
    message = _MESSAGE.search(answer)
    return Refusal(
        status=_STATUS[reason],
        reason=reason,
        previous_state=previous[1] if previous else None,
        message=excerpt(message[1].strip()) if message else None,
    )
