"""Which of several patches removes a race: the base must show it, and each patch is tried alone."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from common.errors import UserError
from reports.campaigns.search import Judge
from reports.campaigns.step import Tried


@dataclass(frozen=True)
class Compared:
    """The base's step, and each patch's, by its name."""

    base: Tried
    patches: Mapping[str, Tried]

    @property
    def clear(self) -> bool:
        """Whether every patch could be judged."""
        return not self._those("skipped")

    def text(self) -> str:
        """Say which of them matter, in one statement."""
        steps = [self.base, *self.patches.values()]
        tried = f"{len(steps)} tried in {sum(step.runs for step in steps)} runs"
        return f"{self._answer()}; {self.base.airflow} alone shows it {_rate(self.base)}, {tried}."

    def _answer(self) -> str:
        removing, left = self._those("clean"), self._those("reproduced")
        parts = []
        if len(removing) > 1 and len(removing) == len(self.patches):
            parts.append(f"Each alone removes the race: {self._names(removing)}")
        elif removing:
            one = f"{'Only ' * bool(left and self.clear)}{self._names(removing)} removes the race"
            parts.append(
                one if len(removing) == 1 else f"{self._names(removing)} each remove the race"
            )
        elif len(left) > 1:
            none = "Neither" if len(left) == 2 else "None"
            parts.append(f"{none} removes the race alone: it shows with {self._names(left)}")
        if left and (removing or len(left) == 1):
            verb = "does" if len(left) == 1 else "do"
            parts.append(f"{self._names(left)} {verb} not{'' if removing else ' remove the race'}")
        parts += [f"{name} cannot be judged ({step.reason})" for name, step in self._unclear()]
        return ", ".join(parts)

    def _unclear(self) -> list[tuple[str, Tried]]:
        return [(name, self.patches[name]) for name in self._those("skipped")]

    def _names(self, names: Sequence[str]) -> str:
        return " and ".join(f"{name} ({_rate(self.patches[name])})" for name in names)

    def _those(self, verdict: str) -> list[str]:
        return [name for name, step in self.patches.items() if step.verdict == verdict]


def _rate(step: Tried) -> str:
    return step.rate.text().replace(" (", ", ").removesuffix(")")


def compare_patches(base: str, patches: Mapping[str, str], judge: Judge) -> Compared:
    """Try the base and each patch, by name; UserError when the base does not show the race."""
    first = judge(base)
    if first.verdict != "reproduced":
        why = first.reason or f"it does not show the race: {first.rate.text()}"
        raise UserError(
            f"--bad {base} cannot serve as the base: {why}.",
            "Give one that shows the race, as each patch is compared with it.",
        )
    return Compared(first, {name: judge(spec) for name, spec in patches.items()})
