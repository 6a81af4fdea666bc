"""What was answered to workers, as a file that a recorder follows.

A line is an `Answered`, in JSON; its number is one more than that of the line before, so that a
reader sees what is missing. Lines are written at once, before the next request is looked at.
"""

import os
import sys
from pathlib import Path
from typing import Literal

import msgspec


class Answered(msgspec.Struct):
    """What became of one request of a worker; times are CLOCK_MONOTONIC, in seconds.

    `status` is what was answered, None where nobody did: the API server was not there, or the
    worker went first. `given` tells whether the answer was written to the worker's connection, and
    `by` who gave it: the API server, or a rule of ours.
    """

    n: int
    asked: float
    t: float
    request: str
    ti: str
    state: str | None
    host: str | None
    status: int | None = None
    given: bool = False
    by: Literal["api-server", "fault"] = "api-server"

    @property
    def worth_a_line(self) -> bool:
        """Whether it is about a task instance, or went wrong."""
        return bool(self.ti) or self.status is None or self.status >= 400


class AnswerLog:
    """Appends to the file; counts from 1, so that a reader sees where another proxy began."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self._encoder = msgspec.json.Encoder()
        self._n = 0

    def write(self, answered: Answered) -> None:
        """Append one; where that fails its number is missing, and a reader sees a gap."""
        if not answered.worth_a_line:
            return
        self._n += 1
        answered.n = self._n
        line = self._encoder.encode(answered) + b"\n"
        try:
            written = os.write(self._file, line)
        except OSError as error:
            print(f"workerproxy: an answer is lost: {error.strerror}", file=sys.stderr, flush=True)
        else:
            if written < len(line):
                print("workerproxy: an answer is cut off", file=sys.stderr, flush=True)
