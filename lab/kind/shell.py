"""Runs kind and Docker's own programs, and finds the line of their output that says why."""

import logging
import os
import subprocess
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from common.errors import UserError

log = logging.getLogger(__name__)


def run(
    argv: Sequence[str | os.PathLike[str]],
    *,
    limit: float,
    heard: Callable[[str], None] | None = None,
) -> str:
    """Run a program to its end and return its standard output.

    `heard` is called with each line of its standard error, as it comes. Raises UserError with what
    it gave as the reason when it fails, or when it takes over `limit` seconds.
    """
    name = Path(argv[0]).name
    try:
        process = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
        )
    except OSError as error:
        raise UserError(f"{name} does not start: {error.strerror or error}.") from error
    said: list[str] = []
    listener = threading.Thread(target=_listen, args=(process, said, heard), daemon=True)
    overtime = threading.Timer(limit, process.kill)
    with process:
        listener.start()
        overtime.start()
        try:
            assert process.stdout is not None
            output = process.stdout.read()
            process.wait()
        except BaseException:
            process.kill()
            raise
        finally:
            late = not overtime.is_alive()
            overtime.cancel()
            listener.join(timeout=5)
    if process.returncode:
        what = f"{name} {' '.join(map(str, argv[1:3]))}"
        if late:
            raise UserError(f"{what} took over {limit:.0f} s; it last said: {reason(said)}")
        raise UserError(f"{what} failed: {reason(said or output.splitlines())}")
    return output


def reason(lines: Sequence[str]) -> str:
    """Return the line that says why a Go program failed: `ERROR: ..` or `Error: ..`, else the last.

    kind adds the output of the command that failed below its error: its last line is the cause.
    """
    told = [line.strip() for line in lines if line.strip()]
    if not told:
        return "it gave no reason"
    errors = [line for line in told if line.lower().startswith("error")]
    first = errors[0] if errors else told[-1]
    last = "" if first == told[-1] else f" ({_short(told[-1])})"
    return _short(first) + last


def _short(line: str) -> str:
    return line if len(line) <= 250 else line[:247] + "..."


def _listen(
    process: "subprocess.Popen[str]", said: list[str], heard: Callable[[str], None] | None
) -> None:
    assert process.stderr is not None
    for line in process.stderr:
        said.append(line.rstrip())
        if heard:
            heard(said[-1])
