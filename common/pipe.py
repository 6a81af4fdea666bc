"""What our command lines share: how they end, and the numbers that they take."""

import argparse
import functools
import logging
import os
import sys
from collections.abc import Callable
from typing import ParamSpec

from common.environment import forget_libpq
from common.errors import UserError
from common.redaction import RedactingFormatter

P = ParamSpec("P")

BROKEN = 141
"""128 and SIGPIPE, as a shell has it of a program that the signal ended; no answer of ours."""


def run(main: Callable[[], int]) -> int:
    """Run a command line to its end; return its exit code, or `BROKEN`.

    Its reader may go early, as `head` does.
    """
    try:
        code = main()
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN
    return code


def reporting(main: Callable[P, int]) -> Callable[P, int]:
    """Have a command line print a UserError as one line, and return 2, without a traceback."""

    @functools.wraps(main)
    def reported(*args: P.args, **kwargs: P.kwargs) -> int:
        try:
            return main(*args, **kwargs)
        except UserError as error:
            print(f"error: {error}", file=sys.stderr)
            return 2

    return reported


def in_labs(options: argparse.Namespace) -> int:
    """Run the command that a parser chose (`work`), which has labs; return its exit code.

    What it logs is redacted. 130 where a person ends it, who is told of the lab.
    """
    forget_libpq(credentials=False)
    logging.basicConfig(format="%(asctime)s %(message)s", datefmt="%H:%M:%S", level=logging.INFO)
    for handler in logging.getLogger().handlers:
        handler.setFormatter(RedactingFormatter(handler.formatter))
    try:
        code: int = options.work(options)
        return code
    except KeyboardInterrupt:
        print("Interrupted; the lab is taken down.", file=sys.stderr)
        return 130


def count(text: str) -> int:
    """Read an argument that is 1 or more."""
    if (number := int(text)) < 1:
        raise argparse.ArgumentTypeError("at least 1")
    return number
