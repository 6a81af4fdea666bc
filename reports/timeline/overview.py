"""The whole run in bins of time: how many task instances are in which state, who decided when."""

from collections.abc import Sequence
from dataclasses import dataclass

from reports.timeline import palette
from reports.timeline.collection import Collection
from reports.timeline.disturbances import Bar
from reports.timeline.scene import shortened
from reports.timeline.survey import Survey

QUAD = ("left", "right", "top", "bottom", "color", "who", "what", "when", "more")
POINT = ("x", "y", "who", "what", "when", "more", "ti")

Columns = dict[str, list[object]]


@dataclass(frozen=True)
class Lanes:
    """The lanes of the whole run, from the top, with what is on them."""

    names: tuple[str, ...]
    quads: Columns
    violations: Columns


def stacks(collection: Collection, end: float) -> Columns:
    """Return, for each bin up to the end, the states on top of one another."""
    counts = collection.in_state()
    order = [*palette.STATES, *sorted(set(counts) - set(palette.STATES))]
    rows: list[Sequence[object]] = []
    floor: list[int] = [0] * max((len(c) for c in counts.values()), default=0)
    for state in (state for state in order if state in counts):
        for place, number in enumerate(counts[state]):
            left, right = place * collection.step, min((place + 1) * collection.step, end)
            if number > 0 and left < end:
                top = floor[place] + number
                what = f"{number} task instance{'s' if number > 1 else ''}"
                colour = palette.of("row", state)
                when = f"at {right:.3f} s"
                rows.append((left, right, top, floor[place], colour, state, what, when, ""))
                floor[place] = top
    return _columns(QUAD, rows)


def lanes(survey: Survey) -> Lanes:
    """Lay out violations, faults, holds and every scheduler's decisions, one lane each."""
    collection = survey.collection
    bars = collection.disturbances.bars
    named = [
        *(["promises broken"] if survey.marks else []),
        *dict.fromkeys(bar.lane for bar in bars),
        *(f"{name} decides" for name in collection.decisions),
    ]
    floor = {name: len(named) - place - 1 for place, name in enumerate(named)}
    quads = [_disturbance(bar, floor[bar.lane], survey.end) for bar in bars]
    most = max((max(bins) for bins in collection.decisions.values()), default=0)
    for name, bins in collection.decisions.items():
        for place, number in enumerate(bins):
            if number:
                at = (place, number, most)
                quads.append(_decisions(name, floor[f"{name} decides"], at, collection.step))
    return Lanes(
        names=tuple(shortened(name.removesuffix(" decides"), name) for name in named),
        quads=_columns(QUAD, quads),
        violations=_violations(survey, floor.get("promises broken", 0) + 0.5),
    )


def _disturbance(bar: Bar, floor: int, end: float) -> tuple[object, ...]:
    until = end if bar.end is None else bar.end
    colour = palette.of(bar.kind, "")
    inset = 0.32 if bar.kind == "hold" else 0.18
    when = f"{bar.begin:.3f} s to {f'{bar.end:.3f} s' if bar.end is not None else 'the end'}"
    pale = colour + ("66" if bar.kind == "hold" else "")
    edges = (bar.begin, until, floor + 1 - inset, floor + inset)
    return (*edges, pale, bar.kind, bar.text, when, "")


def _decisions(name: str, floor: int, at: tuple[int, int, int], step: float) -> tuple[object, ...]:
    place, number, most = at
    left, right = place * step, (place + 1) * step
    what = f"took {number} decision{'s' if number > 1 else ''} (scheduled or queued)"
    edges = (left, right, floor + 0.06 + 0.84 * (number / most) ** 0.5, floor + 0.06)
    return (*edges, palette.WORKER, name, what, f"{left:.3f} s to {right:.3f} s", "")


def _violations(survey: Survey, y: float) -> Columns:
    index = {ti: place for place, ti in enumerate(survey.collection.tracks)}
    rows = [
        (
            *(mark.t, y, mark.invariant, mark.message, f"at {mark.t:.3f} s"),
            *(str(mark.ti or ""), index.get(mark.ti, -1) if mark.ti else -1),
        )
        for mark in survey.marks
    ]
    return _columns(POINT, rows)


def _columns(names: Sequence[str], rows: Sequence[Sequence[object]]) -> Columns:
    return {name: [row[place] for row in rows] for place, name in enumerate(names)}
