"""What a disturbance has changed outside the lab's own processes, and how each is undone.

Written down before it is done: whoever clears away after a SIGKILL (the lab's supervisor, or the
reaper at the next start) finds it in the lab's folder. What cannot be undone now is written down
as left over, beside the labs, until somebody has removed it.
"""

import fcntl
import json
import logging
import shlex
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from common.environment import inherited
from common.errors import UserError
from common.files import write_whole
from common.paths import cache_folder

log = logging.getLogger(__name__)

_TIMEOUT = 30.0

_NAMES_OF_BEFORE = {
    ("lab.attach.undo",): ("lab.cluster.undo",),
    ("oracle", "remove-audit"): ("recorder", "remove"),
}
"""What followed `python -m` in undo lists that older versions wrote, and what it is called now."""


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

        A command that fails has usually nothing left to undo; its output is logged.
        """
        with self._held() as commands:
            count = len(commands)
            while commands:
                self._run(present(commands.pop()))
        return count

    def _run(self, argv: list[str]) -> None:
        log.info("Undoing: %s", " ".join(argv))
        try:
            done = subprocess.run(
                argv, env=inherited(), capture_output=True, text=True, timeout=_TIMEOUT
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            log.warning("It did not run: %s", error)
            return
        if done.returncode:
            log.info("It failed: %s", done.stderr.strip()[:300])

    @contextmanager
    def _held(self) -> Iterator[list[list[str]]]:
        """Lend the list, under a lock; written back even if the holder fails half-way.

        It is whole at any moment: whoever is killed here leaves the list of before, or the new one.
        """
        with self._path.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            commands = self._read()
            try:
                yield commands
            finally:
                write_whole(self._path, json.dumps(commands))

    def _read(self) -> list[list[str]]:
        try:
            commands: list[list[str]] = json.loads(self._path.read_text() or "[]")
        except FileNotFoundError:
            return []
        except json.JSONDecodeError:  # of an older version that was killed while it wrote
            log.warning("The undo list %s cannot be read", self._path)
            return []
        return commands


def present(argv: Sequence[str]) -> list[str]:
    """Return a command as it is written now: what follows `-m` may be a name of before."""
    words = list(argv)
    for at in (place + 1 for place, word in enumerate(words) if word == "-m"):
        for before, now in _NAMES_OF_BEFORE.items():
            if tuple(words[at : at + len(before)]) == before:
                words[at : at + len(before)] = now
    return words


def write_leftover(lab: str, where: str, dsn: str, modules: Sequence[str]) -> None:
    """Write down what a lab left in a database, and the command that removes it.

    In place of what was written of that lab before. `where` says which database it is, `dsn` is
    without a password, `modules` are commands of ours as they follow `python -m`.
    """
    path = _leftovers() / lab
    removals = [f".venv/bin/python -m {each}" for each in modules]
    commands = " && ".join([*removals, f"rm {shlex.quote(str(path))}"])
    write_whole(
        path,
        f"left in the database {where}: take it out with (PGPASSWORD=... is its password)\n"
        f"  export HA_CHAOS_DSN={shlex.quote(dsn)}; {commands}\n",
    )


def forget_leftover(lab: str) -> None:
    """Strike out what a lab left, once it is gone."""
    _leftovers().joinpath(lab).unlink(missing_ok=True)


def leftovers() -> list[str]:
    """Return what labs left and nobody has removed, in lines for the end of a session.

    Where no cache can be had, nothing of ours was written, nor put into a database.
    """
    try:
        texts = [path.read_text() for path in sorted(_leftovers().glob("[!.]*"))]
    except (OSError, UserError):
        return []
    return [line for text in texts for line in text.splitlines()]


def _leftovers() -> Path:
    return cache_folder("leftovers")
