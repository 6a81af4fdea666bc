"""Writes down what happens in a lab, from its witnesses: the database, the pods, the workers.

    audit rows  --poll-----.
    pods        --watch----+--> Stream --(in order of time)--> history.ndjson, listeners
    worker logs --read once-+      '---(at once)--> wait()
    answers     --followed--+
    faults, holds  --note()-'

A recorder that may have missed something says so (`gaps`); whoever judges must then not call the
history valid.
"""

import logging
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from msgspec import structs

from common.redaction import excerpt
from common.waiting import Deadline, until
from oracle.events import (
    WITHOUT_GAPS,
    AssumptionEvent,
    Event,
    FaultEvent,
    Header,
    HoldEvent,
    NoteEvent,
    ProcessEvent,
)
from recorder.answers import AnswerReader
from recorder.connection import Dsn
from recorder.database import DatabaseReader, Names
from recorder.pods import PodReader, Sharing
from recorder.stream import DatabaseClock, Listener, RecorderError, Stream
from recorder.waiting import WaitingReader
from recorder.workers import PodLog, WorkerReader

__all__ = ["Recorder", "RecorderError"]

LOGS_READ = "worker-logs-read"
"""The assumption that no refused start went unnoticed; without it there may be one more."""

_LONG = 2000
"""Characters; what the harness notes may be longer than a line of a log."""

_JOIN = 10.0
"""Seconds that each source gets to come to its end; what it has not reported by then is a gap."""

_TICK = 0.1
_NOTED = FaultEvent | HoldEvent | NoteEvent | AssumptionEvent | ProcessEvent
_logger = logging.getLogger(__name__)


class Recorder:
    """Records one run of a lab into a new history at `path`.

    `dsn` leads straight to the database (not through what cuts or delays links), where the audit
    must be installed; it is asked anew for every connection, since a password may change meanwhile.
    `pod_log` returns what a pod wrote, None where nothing is kept. The header's epoch is set by
    `start`. Each of `listeners` is called with every event in order of time, as far
    as that is known half a second later, in one thread; the last one it gets is the `End`.
    `answers` is the file of what was answered to workers, where the lab has one.
    `names` and `trims` are the database reader's. `release` is the Helm release of the lab, where
    it is one, and `shared` whether another Airflow has its pods in the same namespace.
    """

    def __init__(
        self,
        path: Path,
        header: Header,
        dsn: Dsn,
        core_v1: Any,
        namespace: str,
        pod_log: PodLog,
        listeners: Sequence[Listener] = (),
        *,
        names: Names = str,
        trims: bool = False,
        release: str = "",
        shared: bool = False,
        answers: Path | None = None,
    ) -> None:
        self.path = path
        self.header = header
        self._clock = DatabaseClock()
        self._waiting = WaitingReader(dsn)
        self._stream = Stream(self._clock.now, [*listeners, self._waiting.feed])
        self._database = DatabaseReader(dsn, self._clock, self._stream, names, trims=trims)
        self._workers = WorkerReader(pod_log, self._database.state_now, self._stream)
        self._answers = AnswerReader(answers, self._clock, self._stream)
        sharing = Sharing(release, shared, self._database.has_row)
        self._pods = PodReader(
            core_v1, namespace, self._clock, self._stream, self._workers.ended, sharing
        )
        self._threads: dict[str, tuple[threading.Thread, threading.Event]] = {}

    @property
    def gaps(self) -> list[str]:
        """Return what may be missing from the history so far, in words; empty is good."""
        return [*self._stream.gaps, *self._workers.unread]

    @property
    def trouble(self) -> str:
        """Return why the database cannot be read just now, in words; empty when it can."""
        return self._database.trouble

    def now(self) -> float:
        """Return the time on the history's clock: seconds since its epoch; 0 before `start`."""
        return self._clock.now() if self._clock.epoch else 0.0

    def start(self) -> None:
        """Begin: whatever is committed, or happens to a pod, after this returns is recorded.

        Raises RecorderError, AuditError or HistoryError, and leaves nothing running then.
        """
        try:
            self._database.open()
            self.header = structs.replace(
                self.header,
                epoch=self._clock.epoch,
                attempts=self._database.model,
                by_commit=self._database.by_commit,
            )
            self._waiting.begin(self.header)
            self._pods.open()
            self._answers.open()
            self._stream.open(self.path, self.header)
        except BaseException:
            self._database.close()
            raise
        self._run("writer", self._stream.run)
        self._run("worker reader", self._workers.run)
        self._run("pod reader", self._pods.run)
        self._run("answer reader", self._answers.run)
        self._run("database reader", self._database.run)

    def note(self, event: _NOTED) -> None:
        """Take in what only the harness knows; `t` comes from `now`. For any thread."""
        self._stream.emit([_clean(event)])

    def wait(self, predicate: Callable[[Event], bool], timeout: float, since: float = 0.0) -> Event:
        """Return the first event at or after `since` that fits: one seen already, or to come.

        Raises TimeoutError after `timeout` seconds.
        """
        return self._stream.wait(predicate, timeout, since)

    def stop(self, patience: float = 0.0) -> Path:
        """End when all that happened until now is written down, within a minute; return the path.

        Before that, pods that still run get `patience` seconds to end: a worker may live 5 s longer
        than its task, or than the refusal of its start. Raises HistoryError if the file cannot be
        written.
        """
        if not self._threads:
            return self.path
        until(lambda: not self._pods.alive(), patience, _TICK)
        self._end("pod reader", self._pods.interrupt)
        self._pods.finish()
        self._end("worker reader")
        self._workers.finish()
        self._end("database reader", self._database.interrupt, _JOIN / 3)
        self._database.finish(_JOIN)
        self._end("answer reader")
        self._answers.read()
        self._end("writer")
        self._threads.clear()
        self._conclude()
        return self._stream.close()

    def _conclude(self) -> None:
        self._stream.settle(float("inf"))
        self._stream.emit(self._waiting.ask(self.now()))
        for name, missing in (
            (LOGS_READ, self._workers.unread),
            (WITHOUT_GAPS, self._stream.gaps),
        ):
            value = "; ".join(missing[:5]) or "nothing is missing"
            more = f"; and {len(missing) - 5} more" if len(missing) > 5 else ""
            self.note(
                AssumptionEvent(self.now(), name, not missing, value + more, "nothing is missing")
            )

    def _run(self, name: str, body: Callable[[threading.Event], None]) -> None:
        stop = threading.Event()

        def guarded() -> None:
            try:
                body(stop)
            except Exception as error:
                _logger.exception("the recorder's %s failed", name)
                self._stream.gap(f"the {name} failed: {type(error).__name__}: {error}")

        thread = threading.Thread(target=guarded, name=f"recorder {name}", daemon=True)
        self._threads[name] = (thread, stop)
        thread.start()

    def _end(
        self, name: str, wake: Callable[[], None] | None = None, patience: float = 0.0
    ) -> None:
        """End a thread; one that has not ended in `patience` seconds is woken from its waiting."""
        thread, stop = self._threads[name]
        stop.set()
        deadline, waking = Deadline(_JOIN), Deadline(patience)
        while thread.is_alive() and not deadline.passed:
            if wake and waking.passed:
                wake()
            thread.join(0.1)
        if thread.is_alive():
            self._stream.gap(f"the {name} did not come to an end within {_JOIN:.0f} s")


def _clean(event: _NOTED) -> _NOTED:
    """Hide secrets in the free text of an event."""
    field = {NoteEvent: "text", AssumptionEvent: "value"}.get(type(event), "detail")
    return structs.replace(event, **{field: excerpt(getattr(event, field), _LONG)})
