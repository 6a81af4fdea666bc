"""Options of Airflow's that a user sets for a lab, and those of the shell that it does not take."""

import re
from collections.abc import Iterable, Mapping, Sequence

from common.errors import UserError
from lab.environments.settings import FIXED

_SETTING = re.compile(r"(?P<section>\w+)\.(?P<option>\w+)=(?P<value>.*)", re.DOTALL)
_PREFIX = "AIRFLOW__"
# Airflow also takes an option from a command, or from a secrets backend.
_OTHER_SOURCES = ("_CMD", "_SECRET")


def variables(settings: Sequence[str]) -> dict[str, str]:
    """Return the AIRFLOW__ variables of `section.option=value`s.

    Raises UserError for what is no such thing, and for what the lab alone can know, such as where
    its database is.
    """
    found = {}
    for setting in settings:
        match = _SETTING.fullmatch(setting)
        if match is None:
            raise UserError(
                f"--set {setting!r} is no setting.",
                "Write section.option=value, as in --set core.parallelism=32.",
            )
        name = f"{_PREFIX}{match['section']}__{match['option']}".upper()
        if any(name.removesuffix(source) in FIXED for source in ("", *_OTHER_SOURCES)):
            raise UserError(f"--set {_option(name)}: the lab itself decides that.", "Leave it out.")
        found[name] = match["value"]
    return found


def ignored(environ: Mapping[str, str], taken: Iterable[str]) -> str:
    """Say in a line which of the shell's AIRFLOW__ variables a lab does not get; empty for none.

    Values are not shown: some are passwords.
    """
    left = sorted({name for name in environ if name.startswith(_PREFIX)} - set(taken))
    if not left:
        return ""
    settable = next((name for name in left if name not in FIXED), None)
    how = f" Give --set {_option(settable)}=VALUE to set one." if settable else ""
    return f"Not taken from your shell: {', '.join(left)}.{how}"


def _option(name: str) -> str:
    section, _, option = name.removeprefix(_PREFIX).partition("__")
    return f"{section}.{option}".lower()
