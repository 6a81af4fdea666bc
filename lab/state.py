"""What is known of a lab while it lives: its folder's state.json, which its supervisor writes."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from common.files import write_whole
from lab.base import ProcessEnd


@dataclass
class ProcessState:
    """One process of a lab: its pid, birth (pids are reused), log, and exit code once it ended."""

    pid: int
    created: float
    log: str
    exit_code: int | None = None


@dataclass
class LabState:
    """A lab's life as its supervisor writes it: `phase` is starting, ready, failed or stopped.

    `ends` are the latest ends of daemons that nobody had killed.
    """

    phase: str = "starting"
    doing: str = ""
    error: str = ""
    hint: str = ""
    supervisor: int = 0
    created: float = 0.0
    endpoints: dict[str, Any] = field(default_factory=dict)
    processes: dict[str, ProcessState] = field(default_factory=dict)
    boot: dict[str, float] = field(default_factory=dict)
    ends: list[ProcessEnd] = field(default_factory=list)

    def save(self, directory: Path) -> None:
        """Write the state at once and whole; it holds the passwords, so its owner alone reads."""
        write_whole(directory / "state.json", json.dumps(asdict(self), indent=1), mode=0o600)

    @staticmethod
    def load(directory: Path) -> "LabState | None":
        """Read a lab's state; None when there is none (yet, or any more).

        What only another version of this project knows of it is left out: labs of all checkouts
        stand side by side.
        """
        try:
            return msgspec.json.decode((directory / "state.json").read_bytes(), type=LabState)
        except (FileNotFoundError, msgspec.MsgspecError):
            return None


class Progress:
    """Writes a lab's state as its boot goes on; whoever waits for the lab reads it."""

    def __init__(self, directory: Path, state: LabState) -> None:
        self._directory = directory
        self._state = state

    @contextmanager
    def timed(self, part: str) -> Iterator[None]:
        """Say that a part begins, and write down the seconds that it took."""
        self.say(part)
        begun = time.monotonic()
        yield
        self._state.boot[part] = round(time.monotonic() - begun, 2)

    def say(self, doing: str) -> None:
        """Say what is being done, or waited for."""
        if self._state.doing != doing:
            self._state.doing = doing
            self._state.save(self._directory)

    def ready(self) -> None:
        """Say that the lab can be used."""
        self._state.phase, self._state.doing = "ready", ""
        self._state.save(self._directory)
