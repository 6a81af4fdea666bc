"""What the tests of labs share: whose a lab is, since other sessions may run labs of their own."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from common.paths import labs_dir
from common.waiting import until

ALL = "HA_CHAOS_ALL_TESTS"
"""Set, all tests run: also those that say what others say as well, on more releases or slower."""

at_night = pytest.mark.skipif(not os.environ.get(ALL), reason=f"the night has it ({ALL}=1)")

_SLOWER = 4  # a loop of Python took 0.17 us a turn instead of 0.05 where 4 of 6,000 tests failed


def owned_by(pid: int | None) -> set[Path]:
    """Return the folders of the labs that end with process `pid`; None: of those that stay."""
    return {folder for folder in labs_dir().iterdir() if _owner(folder) == pid}


def _owner(folder: Path) -> int | None:
    try:
        owner = json.loads((folder / "spec.json").read_text())["owner"]
    except (OSError, json.JSONDecodeError):
        return -1
    return int(owner[0]) if owner else None


def eventually(true: Callable[[], bool], timeout: float = 30.0) -> bool:
    """Wait until something is true; return whether it is.

    `timeout` is what a quiet machine of our own takes at the very most, in seconds; another one,
    which does much besides, may be some times as slow, and has that time.
    """
    return until(true, timeout * _SLOWER)
