"""The search for the release in which a race came or went, or for the patch that removes it.

Releases are ordered by version, the older end first. Somewhere between two neighbours the answer
turns, and each step halves what is left. Airflow's lines overlap in time (3.0.6 came out after
3.1.0 was begun), and a fix that was carried back to an older line turns the answer more than once:
the search then finds one of these places, and says so where it has seen more.

Of patches each is tried alone, on a base that must show the race.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from common.errors import UserError
from reports.campaigns.step import Answer, Tried

Judge = Callable[[str], Tried]
"""Says whether the race is in a release; what is known already takes no run."""


@dataclass(frozen=True)
class Turn:
    """Where the answer turns: between `last` and `first`, but for the `skipped` between them."""

    fixed: bool
    last: Tried
    first: Tried
    skipped: tuple[str, ...]
    steps: tuple[Tried, ...]
    oddities: tuple[str, ...] = ()

    @property
    def clear(self) -> bool:
        """Whether it is one release."""
        return not self.skipped

    def text(self) -> str:
        """Say it in one statement."""
        what = "First fixed release" if self.fixed else "First broken release"
        before, after = "reproduces it", "does not"
        if not self.fixed:
            before, after = "does not reproduce it", "does"
        turn = f"{self.last.airflow} {before}, {self.first.airflow} {after}"
        tried = f"{len(self.steps)} releases tried in {sum(s.runs for s in self.steps)} runs"
        if self.clear:
            return f"{what}: {self.first.airflow} ({turn}), {tried}."
        one_of = ", ".join((*self.skipped, self.first.airflow))
        skipped = f"{len(self.skipped)} between them cannot be tried"
        return f"{what}: one of {one_of} ({turn}; {skipped}), {tried}."


def most_steps(releases: int) -> int:
    """Return how many steps a search takes at most, without skips: both ends, then halving."""
    return 2 + max(0, releases - 2).bit_length()


def search(
    releases: Sequence[str], judge: Judge, *, fixed: bool, known: Sequence[Tried] = ()
) -> Turn:
    """Search `releases`, oldest first, of which the ends differ: `fixed` says how.

    The ends are judged first. Raises UserError when they do not differ as they should. `known`
    are steps of an earlier search, looked at for contradictions only.
    """
    steps: dict[str, Tried] = {}

    def judged(release: str) -> Tried:
        if release not in steps:
            steps[release] = judge(release)
        return steps[release]

    before: Answer = "reproduced" if fixed else "clean"
    after: Answer = "clean" if fixed else "reproduced"
    low, high = 0, len(releases) - 1
    _require(judged(releases[high]), after)
    _require(judged(releases[low]), before)
    skipped: set[int] = set()
    while middle := _middle(low, high, skipped):
        verdict = judged(releases[middle]).verdict
        if verdict == before:
            low = middle
        elif verdict == after:
            high = middle
        else:
            skipped.add(middle)
    return Turn(
        fixed=fixed,
        last=steps[releases[low]],
        first=steps[releases[high]],
        skipped=tuple(releases[low + 1 : high]),
        steps=tuple(steps[release] for release in releases if release in steps),
        oddities=_oddities(releases, {step.airflow: step for step in known} | steps),
    )


def _require(end: Tried, wanted: Answer) -> None:
    if end.verdict == wanted:
        return
    option = "--good" if wanted == "clean" else "--bad"
    if end.verdict == "skipped":
        problem = f"cannot be judged: {end.reason}"
    else:
        shows = "shows" if end.verdict == "reproduced" else "does not show"
        problem = f"{shows} the race: {end.rate.text()}."
    raise UserError(f"{option} {end.airflow} {problem}", "Give another one.")


def _middle(low: int, high: int, skipped: set[int]) -> int | None:
    """Return the release to try next: the one nearest to the middle that is not skipped."""
    left = [index for index in range(low + 1, high) if index not in skipped]
    centre = (low + high) // 2
    return min(left, key=lambda index: abs(index - centre), default=None)


def _oddities(releases: Sequence[str], steps: dict[str, Tried]) -> tuple[str, ...]:
    """Say where the answer turns, if that is in more than one place."""
    decided = [steps[r] for r in releases if r in steps and steps[r].verdict != "skipped"]
    turns = [(a, b) for a, b in pairwise(decided) if a.verdict != b.verdict]
    if len(turns) < 2:
        return ()
    seen = "; ".join(f"{a.airflow} {a.verdict}, {b.airflow} {b.verdict}" for a, b in turns)
    return (f"The answer turns {len(turns)} times, as with a fix carried back: {seen}.",)


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
        unclear = self._those("skipped")
        parts += [f"{name} cannot be judged ({self.patches[name].reason})" for name in unclear]
        return ", ".join(parts)

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
