"""What the tests of labs share: whose a lab is, since other sessions may run labs of their own."""

import json
from collections.abc import Callable
from pathlib import Path

from common.paths import labs_dir
from common.waiting import until


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
    """Wait until something is true, `timeout` seconds at most; return whether it is."""
    return until(true, timeout)
