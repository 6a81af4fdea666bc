"""Shrinking a schedule to the fewest preemptions, and moves, that still break the promise."""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import combinations
from pathlib import Path
from types import MappingProxyType

from msgspec.structs import replace

from common.errors import UserError
from common.files import write_whole
from explore import schedule as schedules
from explore.finds import Find
from explore.points import API_SERVER
from explore.replay import replay
from explore.results import empty
from explore.schedule import BY_PERSON, WORK, Deed, Schedule
from lab.base import Lab
from oracle.events import TaskInstanceEvent
from oracle.history import HistoryError, read

log = logging.getLogger(__name__)

TRIALS, NEEDED = 3, 2
"""Rounds that a shrunken schedule gets, and in how many of them it must show itself: what comes of
chance alone, as a race does now and then without any preemption, is no explanation."""

_MOST_PAIRS = 5


def shrink(
    lab: Lab,
    schedule: Schedule,
    folder: Path,
    tell: Callable[[str], None] = log.info,
    history: Path | None = None,
) -> Schedule:
    """Return the schedule with the fewest preemptions that still shows the violation.

    It is written into `folder`, beside the history of a round that shows it. Its moves are left out
    if it shows itself without them, else each is made before the point that came next. Tried are
    the preemptions that stood last before it: none, each alone, then in pairs.
    `history` is the find's: it tells in which state a task was to which a person did something.
    Raises UserError where none shows it.
    """
    states = found_in(schedule, history) if history is not None else {}
    schedule = _unmoved(lab, schedule, folder / "moves", tell)
    for number, yields in enumerate(candidates(schedule)):
        deeds = bound(schedule, yields, states)
        wanted = replace(schedule, steps=[], deeds=deeds, yields=yields, strategy="yields")
        shown = replay(lab, wanted, TRIALS, folder / f"{number}", needed=NEEDED)
        what = ", ".join(yields) or "no preemption"
        tell(f"{what}: {shown.text}")
        if shown.rate.hits >= NEEDED:
            return _written(wanted, shown.finds[0], folder)
    raise UserError(
        "No schedule with fewer preemptions showed it again.",
        "Replay the schedule itself: python -m explore replay FILE --count 20.",
    )


def _unmoved(lab: Lab, schedule: Schedule, folder: Path, tell: Callable[[str], None]) -> Schedule:
    """Return the schedule without its moves, where it shows the violation without them."""
    if not schedule.moves:
        return schedule
    deeds = [deed for deed in schedule.deeds if deed.do in WORK]
    without = replace(schedule, deeds=deeds)
    shown = replay(lab, without, TRIALS, folder, needed=NEEDED)
    what = ", ".join(dict.fromkeys(deed.do for deed in schedule.moves))
    tell(f"without {what}: {shown.text}")
    return without if shown.rate.hits >= NEEDED else schedule


def found_in(schedule: Schedule, history: Path) -> dict[Deed, str]:
    """Return in which state a task was when what a person did to it was done, by its history.

    A history that cannot be read, or does not show it, leaves it out.
    """
    found: dict[Deed, str] = {}
    try:
        events = list(read(history)[1])
    except (HistoryError, OSError):
        return found
    for deed in (each for each in schedule.moves if each.task):
        for event in events:
            if isinstance(event, TaskInstanceEvent) and _does(event, deed, schedule.round):
                found[deed] = (event.old and event.old.state) or "none"
                break
    return found


def _does(event: TaskInstanceEvent, deed: Deed, number: int) -> bool:
    """Tell whether a change is what a deed did: by the API server, in its round, to its task."""
    ti, new = event.ti, event.new.state if event.new is not None else None
    marked = new == deed.state if deed.do == "mark" else new is None
    run = ti.run_id.startswith(f"x{number}-") and ti.run_id.endswith(f"-{deed.run}")
    return marked and run and ti.task_id == deed.task and event.process == API_SERVER


def bound(
    schedule: Schedule, yields: Sequence[str], states: Mapping[Deed, str] = MappingProxyType({})
) -> list[Deed]:
    """Return its deeds, each move before a point, and without those that came too late.

    Who is killed, frozen or fails does so at its own next point. What a person does is done once
    the first that yields stands where it was preempted, so that it comes in between; and, where its
    history told in which of `states` it found the task, once it is in that one.
    """
    order = schedule.order[: schedule.until or None]
    there = tuple(yields[0].split()) if yields else ("", "")
    between = max((n for n, step in enumerate(order) if step == there), default=None)

    def before(deed: Deed) -> str:
        left = range(deed.at, len(order))
        own = (n for n in left if order[n][0] == deed.target and deed.do in ("kill", "pause"))
        number = next(own, deed.at)
        if between is not None and deed.do in BY_PERSON:
            number = between
        process, point = order[number]
        times = order[: number + 1].count((process, point))
        when = states.get(deed, times) if number == between else times
        return f"{process} {point} {when}"

    return [
        deed if deed.do in WORK else replace(deed, before=before(deed))
        for deed in schedule.deeds
        if deed.do in WORK or deed.at < len(order)
    ]


def _written(wanted: Schedule, find: Find, folder: Path) -> Schedule:
    """Write what shows it, as it was seen to; nothing is left of the others."""
    there = find.schedule
    passed = [f"{process} {point}" for process, point in there.order]
    wanted = replace(wanted, yields=sorted(wanted.yields, key=_first(passed)))
    known = wanted.statements | there.statements
    small = replace(wanted, statements=known, broken=there.broken, witness=there.witness)
    history = find.folder / "history.ndjson"
    kept = history.read_bytes() if history.exists() else b""
    empty(folder)
    write_whole(folder / history.name, kept)
    schedules.write(small, folder / "schedule.yaml")
    return small


def _first(passed: Sequence[str]) -> Callable[[str], int]:
    """Return what tells when a point was passed first, last of all what never was."""
    return lambda point: passed.index(point) if point in passed else len(passed)


def candidates(schedule: Schedule) -> Iterator[list[str]]:
    """Yield which preemptions to try, the fewest first, and the latest of the schedule first.

    Where a person does something, it is others that stand meanwhile: those of the API server, which
    does it, come later, and none come last.
    """
    texts = [f"{process} {point}" for process, point in schedule.preemptions]
    by_person = any(deed.do in BY_PERSON for deed in schedule.deeds)
    if by_person:
        texts.sort(key=lambda text: text.startswith(f"{API_SERVER} "))
    else:
        yield []
    for each in texts:
        yield [each]
    for pair in combinations(texts[:_MOST_PAIRS], 2):
        yield list(pair)
    if by_person:
        yield []
