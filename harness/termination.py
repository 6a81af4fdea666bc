"""SIGTERM ends a session as Ctrl-C does: what was recorded is judged, and the labs come down.

A person presses Ctrl-C; timeout(1), CI services, systemd and Docker send SIGTERM, of which a Python
would die at once, with all that its session has seen.

    SIGTERM --> handler of SIGINT --> KeyboardInterrupt, which pytest and the suite know
                                           `--> xdist's controller: SIGTERM to its workers

A terminal's Ctrl-C reaches the workers by itself. Who is told by its controller alone, as xdist
does it, goes on for 5 s, and is killed 5 s later.
"""

import os
import signal
import threading
from contextlib import suppress
from types import FrameType

import psutil
import pytest


class Termination:
    """The plugin; `begin` makes the process ready for SIGTERM, `end` leaves it as it was.

    The first one counts: timeout(1) sends two. Who will not wait then has Ctrl-C and SIGKILL.
    """

    def __init__(self) -> None:
        self._came = False
        self._former: signal._HANDLER = signal.SIG_DFL

    def begin(self) -> None:
        """Take SIGTERM for Ctrl-C; only a process' main thread can."""
        if threading.current_thread() is threading.main_thread():
            self._former = signal.signal(signal.SIGTERM, self._end)

    def end(self) -> None:
        """Leave SIGTERM to whoever had it."""
        if signal.getsignal(signal.SIGTERM) == self._end:
            signal.signal(signal.SIGTERM, self._former)

    def _end(self, _number: int, frame: FrameType | None) -> None:
        if self._came:
            return
        self._came = True
        pressed = signal.getsignal(signal.SIGINT)
        if not callable(pressed):  # a script's `pytest suites &` has it ignored
            raise KeyboardInterrupt
        pressed(signal.SIGINT, frame)

    def pytest_keyboard_interrupt(self) -> None:
        """Pass it on to the processes that a terminal's Ctrl-C reaches: those of the same group.

        They are xdist's workers, and what the session waits for in the foreground.
        """
        if self._came:
            for child in psutil.Process().children():
                with suppress(psutil.NoSuchProcess, ProcessLookupError):
                    if os.getpgid(child.pid) == os.getpgrp():
                        child.terminate()


def begin(config: pytest.Config) -> None:
    """Have SIGTERM end this session as Ctrl-C does, until it is over."""
    termination = Termination()
    config.pluginmanager.register(termination, "ha_chaos_termination")
    config.add_cleanup(termination.end)
    termination.begin()
