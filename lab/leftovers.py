"""What could not be taken out of somebody's database, and the command that does it.

It is told until it is done: written beside the labs, and not in a lab's folder, which goes.
"""

import shlex
from pathlib import Path

from common.paths import cache_dir


def tell(lab: str, text: str) -> None:
    """Write down what a lab left; in place of what was written of it before."""
    _folder().joinpath(lab).write_text(text + "\n")


def forget(lab: str) -> None:
    """Strike out what a lab left, once it is gone."""
    _folder().joinpath(lab).unlink(missing_ok=True)


def told() -> list[str]:
    """Return what is written down, a line each, for the end of a session.

    Where no cache can be had, nothing of ours was written, nor put into a database.
    """
    try:
        texts = [path.read_text() for path in sorted(_folder().iterdir())]
    except (OSError, RuntimeError):
        return []
    return [line for text in texts for line in text.splitlines()]


def removal(lab: str, where: str, dsn: str, modules: list[str]) -> str:
    """Say what is left in a database, and the command, which strikes this out, too.

    `dsn` is without a password; `modules` are commands of ours as they follow `python -m`.
    """
    removed = [f".venv/bin/python -m {each}" for each in modules]
    commands = " && ".join([*removed, f"rm {shlex.quote(str(_folder() / lab))}"])
    return (
        f"left in the database {where}: take it out with (PGPASSWORD=... is its password)\n"
        f"  export HA_CHAOS_DSN={shlex.quote(dsn)}; {commands}"
    )


def _folder() -> Path:
    folder = cache_dir() / "leftovers"
    folder.mkdir(exist_ok=True)
    return folder
