"""Looks on for daemons of Airflow's that end by themselves while a run is recorded."""

import logging
import threading
import time
from typing import Literal, Protocol

from kubernetes.client.exceptions import ApiException
from urllib3.exceptions import HTTPError

from common.errors import UserError
from lab.base import Lab, ProcessEnd

log = logging.getLogger(__name__)

ProcessOp = Literal["watched", "started", "ended"]

# Seconds; on a cluster, where looking costs a call, as many times longer as all takes there.
_STEP = 0.25

_LAST = 15.0
"""Seconds that the last look may take; a cluster that is gone may let a caller wait for minutes."""

# What a lab that is asked while it is disturbed may answer with.
_UNANSWERED = (UserError, ApiException, HTTPError, OSError)


class Note(Protocol):
    """Takes what became of a process: when, in unix seconds, and its exit code and last words."""

    def __call__(
        self, op: ProcessOp, process: str, at: float, exit_code: int | None, detail: str
    ) -> None:
        """Write it down."""


class Ends:
    """From `begin` to `stop`, notes every end of a daemon once, and that it is back.

    Of a lab that cannot say who its daemons are nothing is noted: the promise is not judged.
    """

    def __init__(self, lab: Lab, note: Note) -> None:
        self._lab = lab
        self._note = note
        self._ended: set[tuple[str, float]] = set()
        self._back: set[tuple[str, float]] = set()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="ends", daemon=True)

    def begin(self) -> None:
        """Pass over what ended before, note who is there, and begin to look on."""
        try:
            before, daemons = self._lab.ends(), self._lab.daemons
        except _UNANSWERED as error:
            log.info("Nobody sees whether a process ends: %s", error)
            return
        self._ended = {(end.process, end.at) for end in before}
        self._back = set(self._ended)
        for name in daemons:
            self._note("watched", name, time.time(), None, "")
        self._thread.start()

    def stop(self) -> None:
        """Look for the last time; once more is nothing."""
        if self._over.is_set():
            return
        self._over.set()
        if self._thread.ident is not None:
            self._thread.join(_LAST)
            if not self._thread.is_alive():
                self._look()

    def _watch(self) -> None:
        while not self._over.wait(_STEP * self._lab.pace):
            self._look()

    def _look(self) -> None:
        try:
            found = self._lab.ends()
        except _UNANSWERED as error:
            log.debug("Not seen whether a process ended: %s", error)
            return
        for end in found:
            self._take(end)

    def _take(self, end: ProcessEnd) -> None:
        key = (end.process, end.at)
        if key not in self._ended:
            self._ended.add(key)
            self._note("ended", end.process, end.at, end.exit_code, end.last_words)
        if end.again and key not in self._back:
            self._back.add(key)
            self._note("started", end.process, end.again, None, "")
