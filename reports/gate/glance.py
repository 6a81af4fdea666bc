"""What a gate's answer says at a glance of one build: first what is new, then what is known."""

from collections.abc import Iterator, Sequence

import msgspec

_HEADS = {
    "known": "known",
    "fixed": "has not",
    "stayed_away": "did not show",
    "cannot_tell": "cannot tell",
}


class Glance(msgspec.Struct, frozen=True):
    """One build: `new` violations, each with its test; `known` races that showed themselves.

    `fixed` are the races whose scenario was performed on a release that is said not to have them,
    and did not show; `stayed_away` those that did not show though it is said to have them. What it
    `cannot_tell` is named by the gate's rows.
    """

    airflow: str
    new: tuple[str, ...] = ()
    known: tuple[str, ...] = ()
    fixed: tuple[str, ...] = ()
    stayed_away: tuple[str, ...] = ()
    cannot_tell: tuple[str, ...] = ()

    @property
    def lines(self) -> Iterator[tuple[str, str]]:
        """Yield a head and its text; what there is none of is left out, but for what is new."""
        yield "new", self._counted(self.new, "; ") or "0"
        for name, head in _HEADS.items():
            if text := self._counted(getattr(self, name), ", "):
                yield head, text

    @property
    def short(self) -> str:
        """Say how many are new, and how many known."""
        races = "race" if len(self.known) == 1 else "races"
        return f"{len(self.new)} new, {len(self.known)} known {races}"

    @staticmethod
    def _counted(names: Sequence[str], between: str) -> str:
        return f"{len(names)} ({between.join(names)})" if names else ""
