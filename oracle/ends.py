"""How a process ended, from its exit code: by itself, or because somebody else wanted it."""

import signal

from oracle.events import ProcessEvent

_FROM_OUTSIDE = frozenset(
    {signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGKILL, signal.SIGTERM}
)
_SHELL = 128

KILLED = frozenset({137, 143})
"""A worker's exit codes by SIGKILL and SIGTERM: somebody ended it from outside, a node that ran
out of memory or a user, and what it could not report nobody can know."""


def signal_of(exit_code: int | None) -> signal.Signals | None:
    """Return the signal that ended a process (-11, or 139 as a container's runtime has it)."""
    if exit_code is None or 0 <= exit_code <= _SHELL:
        return None
    number = -exit_code if exit_code < 0 else exit_code - _SHELL
    try:
        return signal.Signals(number)
    except ValueError:
        return None


def was_told_to(event: ProcessEvent, lab: str) -> bool:
    """Tell whether somebody made the process end: a user, a kubelet, the kernel out of memory.

    A daemon that gets SIGTERM ends with 0, which a kubelet sends; an embedded lab sends none.
    """
    if event.exit_code == 0:
        return lab != "embedded"
    return signal_of(event.exit_code) in _FROM_OUTSIDE


def end_text(event: ProcessEvent) -> str:
    """Say how a process ended: `ended with exit code 1 (OSError: ..)`, `ended by SIGSEGV`."""
    number = signal_of(event.exit_code)
    if number is not None:
        how = f"ended by {number.name}"
    elif event.exit_code is None:
        how = "ended"
    else:
        how = f"ended with exit code {event.exit_code}"
    return f"{how} ({event.detail})" if event.detail else how
