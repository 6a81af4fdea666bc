"""Which of the labs that live on this machine a command means: by name, or this checkout's own."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from common.errors import UserError
from common.paths import PROJECT
from lab.request import read_checkout, read_owner
from lab.supervised import running


@dataclass(frozen=True)
class Found:
    """A lab that lives; `session` is the pid of the test session that it ends with, 0 for none.

    The cache is shared by all checkouts of a user: `own` tells whether ours booted it.
    """

    directory: Path
    checkout: str
    session: int

    @property
    def name(self) -> str:
        """Return what it is called: its folder's name."""
        return self.directory.name

    @property
    def own(self) -> bool:
        """Tell whether this checkout booted it, or nobody knows which did."""
        return self.checkout in ("", str(PROJECT))

    @property
    def whose(self) -> str:
        """Say whose it is, in words; empty for one of ours that stays."""
        if self.session:
            return f"a test session's (process {self.session}), and ends with it"
        return "" if self.own else f"of the checkout {self.checkout}"


def found() -> list[Found]:
    """Return the labs that live, oldest first."""
    labs = []
    for directory in running():
        try:
            owner = read_owner(directory)
            labs.append(Found(directory, read_checkout(directory), owner[0] if owner else 0))
        except FileNotFoundError:
            continue
    return labs


def named(labs: Sequence[Found], name: str) -> Found:
    """Return the lab of that name, or of the only one that begins so; UserError for none."""
    exact = [lab for lab in labs if lab.name == name]
    fits = exact or [lab for lab in labs if name and lab.name.startswith(name)]
    if len(fits) == 1:
        return fits[0]
    known = ", ".join(lab.name for lab in fits or labs)
    fault = f"More than one lab begins with {name!r}" if fits else f"No lab is called {name!r}"
    raise UserError(f"{fault}.", f"There are: {known}." if known else "No lab is up.")


def to_take_down(labs: Sequence[Found], names: Sequence[str], *, every: bool) -> list[Found]:
    """Return the labs that `down` means: those named, all that stay, or this checkout's own.

    Raises UserError for a name that is not there, and for a lab of a test session.
    """
    if not names:
        return [lab for lab in labs if not lab.session and (every or lab.own)]
    chosen = [named(labs, name) for name in names]
    for lab in chosen:
        if lab.session:
            raise UserError(f"{lab.name} is {lab.whose}.", "End that session instead.")
    return chosen


def to_read(labs: Sequence[Found], name: str | None) -> Found:
    """Return the lab whose logs are meant: the one named, or this checkout's newest."""
    if name is not None:
        return named(labs, name)
    own = [lab for lab in labs if lab.own]
    if not own:
        hint = "`python -m lab up` boots one."
        if labs:
            hint = f"--lab names one of another checkout: {', '.join(lab.name for lab in labs)}."
        raise UserError("No lab of this checkout is up.", hint)
    return own[-1]
