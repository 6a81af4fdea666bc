"""What a disturbance has changed outside the lab's own processes, and how each is undone.

Written down before it is done: whoever clears away after a SIGKILL (the lab's supervisor, or the
reaper at the next start) finds it in the lab's folder.
"""

import fcntl
import json
import logging
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

log = logging.getLogger(__name__)

_TIMEOUT = 30.0


class Undo:
    """The undo list of the lab in `directory`: commands, each safe to run twice."""

    def __init__(self, directory: Path) -> None:
        self._path = directory / "undo.json"

    def add(self, argv: Sequence[str]) -> None:
        """Write a command down; call before doing what it undoes."""
        with self._held() as commands:
            commands.append(list(argv))

    def done(self, argv: Sequence[str]) -> None:
        """Strike a command out, once it was undone."""
        with self._held() as commands:
            if list(argv) in commands:
                commands.remove(list(argv))

    def run(self) -> int:
        """Run what is written down, the latest first, whether or not each works; return how many.

        A command that fails has usually nothing left to undo; what it said is logged.
        """
        with self._held() as commands:
            count = len(commands)
            while commands:
                self._run(commands.pop())
        return count

    def _run(self, argv: list[str]) -> None:
        log.info("Undoing: %s", " ".join(argv))
        try:
            done = subprocess.run(argv, capture_output=True, text=True, timeout=_TIMEOUT)
        except (OSError, subprocess.TimeoutExpired) as error:
            log.warning("It did not run: %s", error)
            return
        if done.returncode:
            log.info("It said: %s", done.stderr.strip()[:300])

    @contextmanager
    def _held(self) -> Iterator[list[list[str]]]:
        """Lend the list, under a lock; written back even if the holder fails half-way."""
        with self._path.open("a+") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            file.seek(0)
            commands: list[list[str]] = json.loads(file.read() or "[]")
            try:
                yield commands
            finally:
                file.seek(0)
                file.truncate()
                json.dump(commands, file)
