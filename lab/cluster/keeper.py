"""The process that keeps a connection open for the removal (run/keeper.py), as a lab holds it."""

import os
import selectors
import subprocess
import sys

from common.database import DSN_VARIABLE
from common.paths import PROJECT

_ANSWER = 25.0
_END = 5.0


class Keeper:
    """One such process. It removes us by itself when this one is killed: its stdin ends then."""

    def __init__(self, conninfo: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "run.keeper"],
            env={**os.environ, DSN_VARIABLE: conninfo},
            cwd=PROJECT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def remove(self) -> str | None:
        """Have gates, delays and the recorder removed; return why they are not, None when done."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write("remove\n")
            self._process.stdin.flush()
        except OSError:
            return "the process that keeps a connection for it has ended"
        with selectors.DefaultSelector() as selector:
            selector.register(self._process.stdout, selectors.EVENT_READ)
            if not selector.select(_ANSWER):
                return f"no answer in {_ANSWER:.0f} s"
        outcome = self._process.stdout.readline().strip()
        return None if outcome == "ok" else outcome or "the process that does it has ended"

    def close(self) -> None:
        """Let it go; it removes what came since, and ends."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(_ANSWER)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(_END)
