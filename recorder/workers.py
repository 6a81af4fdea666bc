"""Reads the log of every worker that ended, once, to learn whether it was refused its start."""

import queue
import threading
from collections.abc import Callable

import msgspec
import psycopg
import tenacity

from common.redaction import excerpt
from oracle.events import PodEvent, Refusal, WorkerEvent
from recorder.refusal import find_refusal, find_task_instance_id
from recorder.stream import Stream

PodLog = Callable[[str], str | None]
StateNow = Callable[[str], tuple[bool, str | None]]

_ATTEMPTS = 4


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
        refused = self._explain(find_refusal(log), log) if log else None
        worker = WorkerEvent(
            pod.t, pod.name, pod.uid, pod.ti, pod.try_number, pod.exit_code, refused
        )
        self._stream.emit([worker])

    @tenacity.retry(
        stop=tenacity.stop_after_attempt(_ATTEMPTS), wait=tenacity.wait_exponential(0.05)
    )
    def _log(self, pod: str) -> str | None:
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
            told = f"Server returned error; the row was there when the log was read, state {state}"
            return msgspec.structs.replace(refused, reason="invalid_state", message=told)
        told = "Server returned error; no row had this id when the log was read"
        return Refusal(404, "not_found", None, told)


def _told_to_go(pod: PodEvent) -> bool:
    """Tell whether a pod was deleted before it ended: its log goes with it, and is no loss.

    A worker that was refused ends first, and is deleted then.
    """
    return pod.deleting or pod.op == "deleted"
