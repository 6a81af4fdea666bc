"""What our command lines do when who reads them goes early, as `head` does."""

import os
import sys
from collections.abc import Callable

BROKEN = 141
"""128 and SIGPIPE, as a shell has it of a program that the signal ended; no answer of ours."""


def run(main: Callable[[], int]) -> int:
    """Run a command line to its end; return its exit code, or `BROKEN`."""
    try:
        code = main()
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN
    return code
