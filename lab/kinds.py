"""The kinds of labs, by the names that `--lab` takes: how each boots, and what is used of it.

The one place at the root of lab/ that knows the kinds; a kind is imported when it is needed.
"""

from collections.abc import Iterator
from pathlib import Path
from pkgutil import resolve_name
from typing import Any, ClassVar, Protocol

from common.errors import UserError
from lab.spec import LabSpec
from lab.state import LabState

_BOOTS = {
    "embedded": "lab.embedded.boot:EmbeddedBoot",
    "kind": "lab.kind.boot:KindBoot",
    "cluster": "lab.cluster.boot:ClusterBoot",
}
_LABS = {
    "embedded": "lab.embedded.lab:EmbeddedLab",
    "kind": "lab.kind.lab:KindLab",
    "cluster": "lab.cluster.lab:ClusterLab",
}


class Boot(Protocol):
    """How a kind of lab comes up and goes, and what it can be asked meanwhile."""

    end_seconds: ClassVar[float]
    """Seconds in which its supervisor has ended everything."""

    def __init__(self, directory: Path, spec: LabSpec, state: LabState) -> None: ...

    def steps(self) -> Iterator[None]:
        """Bring the lab up, yielding often; UserError when a part fails."""
        ...

    def reboot(self, spec: LabSpec) -> Iterator[None]:
        """Bring up the lab of another spec in the place of this one, as `steps` does.

        UserError where labs of this kind cannot: the lab goes on as it is.
        """
        ...

    def answer(self, request: dict[str, Any]) -> None:
        """Serve a control request of this kind of lab; UserError where it knows none such."""
        ...

    def reap(self) -> None:
        """Look after what has ended."""
        ...

    def stop(self) -> None:
        """Take down all that was brought up."""
        ...

    @staticmethod
    def clear(directory: Path, spec: LabSpec) -> None:
        """Remove what a killed supervisor left beside processes and folder.

        Raises UserError where that has to be tried again later.
        """
        ...


def boot_of(kind: str) -> type[Boot]:
    """Return how labs of a kind boot."""
    boot: type[Boot] = resolve_name(_BOOTS[kind])
    return boot


def lab_of(kind: str) -> Any:
    """Return the class of running labs of a kind, a `lab.supervised.SupervisedLab`."""
    return resolve_name(_LABS[kind])


def missing(kind: str, power: str) -> str | None:
    """Say why no lab of a kind has a power; None where it has it, or where only the lab knows.

    Raises UserError for what is no power of any lab.
    """
    reason: str | None = lab_of(kind).never(power)
    if reason is not None:
        known = frozenset().union(*(lab_of(each).powers for each in _LABS))
        if power not in known:
            there = ", ".join(sorted(known))
            raise UserError(f"No lab has the power {power!r}.", f"There are {there}.")
    return reason
