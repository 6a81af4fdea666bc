"""The stations of a scenario: where who is held, what is done meanwhile, and its steps."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from chaos.holds.points import STATEMENTS
from common.errors import UserError
from explore.points import API_SERVER, PODS, Watched, requested
from explore.schedule import Deed, Schedule
from oracle.events import DagRunEvent, TaskInstanceEvent
from oracle.invariants import Violation

AGAIN = "Shrink the schedule again: python -m explore shrink finds/ROUND/schedule.yaml."
"""What to do where a schedule does not fit what is beside it."""

_SCHEDULERS = ("scheduler-1", "scheduler-2")
_LETTERS = {API_SERVER: "api"}

Written = tuple[str, dict[str, Any]]
"""A step of a scenario: its name, and what it does."""


@dataclass(frozen=True)
class Station:
    """A session is held at a point of its process; others act, and the moves are made meanwhile."""

    session: str
    process: str
    point: str
    moves: Sequence[Deed] = ()


def stations(schedule: Schedule) -> list[Station]:
    """Return where processes are held, in the order in which they are released.

    Those that yield come first. A move before the point where somebody yields is made meanwhile.
    """
    there: dict[tuple[str, str], list[Deed]] = {}
    for process, point in map(str.split, schedule.yields):
        there[process, point] = []
    for deed in schedule.moves:
        process, point, _ = deed.before.split()
        there.setdefault((process, point), []).append(deed)
    letters = _letters([process for process, _ in there])
    found: list[Station] = []
    for (process, point), moves in there.items():
        times = sum(each.process == process for each in found)
        session = letters[process] + ("" if not times else f"-{times + 1}")
        found.append(Station(session, process, point, moves))
    return found


def sessions(there: Sequence[Station]) -> dict[str, str]:
    """Return the sessions: both schedulers, and whoever else is held, at each of its points."""
    letters = _letters([each.process for each in there])
    both = sorted((letters[process], process) for process in _SCHEDULERS)
    return dict([*both, *((each.session, each.process) for each in there)])


def _letters(processes: Sequence[str]) -> dict[str, str]:
    """Return what processes are called: B is the scheduler that is held first, A its peer."""
    held = next((each for each in processes if each in _SCHEDULERS), "scheduler-2")
    letters = {each: "B" if each == held else "A" for each in _SCHEDULERS}
    return letters | {
        each: _LETTERS.get(each, each) for each in processes if each not in _SCHEDULERS
    }


class Steps:
    """Writes the steps of a scenario, once: whoever is asleep there sleeps."""

    def __init__(
        self,
        schedule: Schedule,
        violation: Violation,
        there: Sequence[Station],
        dags: Sequence[str],
    ) -> None:
        self._schedule = schedule
        self._violation = violation
        self._stations = there
        self._dags = dags
        self._letters = _letters([each.process for each in there])
        self._asleep = list(_SCHEDULERS)
        self._held: set[str] = set()
        self._runs: dict[str, dict[str, str]] = {}

    def write(self) -> dict[str, dict[str, Any]]:
        """Return the steps by their names, in order."""
        written: dict[str, dict[str, Any]] = {}
        for name, step in self._steps():
            same = sum(each == name or each.startswith(f"{name}-again-") for each in written)
            written[f"{name}-again-{same}" if same else name] = step
        return written

    def _steps(self) -> Iterator[Written]:
        for letter in sorted(self._letters[each] for each in _SCHEDULERS):
            yield f"{letter.lower()}-sleeps", {"pause": letter}
        begins, later = self._work()
        yield from begins
        for each in self._stations:
            point = _point(self._schedule, each.point, self._dags[0])
            yield f"hold-{each.session.lower()}", {"hold": each.session, **point}
        for number, each in enumerate(self._stations):
            follows = self._stations[number + 1 : number + 2]
            yield from self._station(each, follows[0] if follows else None, later)
            later = []
        begun = bool(self._runs)  # what assets begin has no such end
        longest = 120 if self._disturbed else 60
        settles = {"settle": {"at_most": longest, "after_violation": 20}}
        yield "settles", settles if begun else {"wait": longest // 2}

    @property
    def _disturbed(self) -> bool:
        return any(deed.do in ("kill", "pause") for deed in self._schedule.moves)

    def _station(
        self, here: Station, follows: Station | None, later: Sequence[Written]
    ) -> Iterator[Written]:
        yield from self._is_held(here)
        for deed in here.moves:
            yield from self._move(deed, here)
        if follows is not None and follows.process != here.process:
            yield from self._is_held(follows)
        else:
            yield from self._wake(*self._asleep)
        yield from later
        if not here.moves:
            yield from self._others_act(here, follows)
        yield f"release-{here.session.lower()}", {"release": here.session}
        for deed in here.moves:
            if deed.do == "kill":
                letter = self._letters[deed.target]
                yield f"{letter.lower()}-starts-again", {"start": letter}

    def _is_held(self, station: Station) -> Iterator[Written]:
        yield from self._wake(station.process)
        if station.session not in self._held:
            self._held.add(station.session)
            yield f"{station.session.lower()}-is-held", {"held": station.session}

    def _wake(self, *processes: str) -> Iterator[Written]:
        for process in processes:
            if process in self._asleep:
                self._asleep.remove(process)
                letter = self._letters[process]
                yield f"{letter.lower()}-wakes", {"resume": letter}

    def _others_act(self, here: Station, follows: Station | None) -> Iterator[Written]:
        """Wait for what the history shows another scheduler did, at the last station."""
        if follows is not None:
            if follows.process == here.process:
                yield f"others-act-{here.session.lower()}", {"wait": 3}
            return
        done, by = _until(self._violation, here.process)
        letter = self._letters.get(by, "A")
        yield f"{letter.lower()}-has-acted", {"until": {**done, **({"by": letter} if by else {})}}

    def _move(self, deed: Deed, here: Station) -> Iterator[Written]:
        """Write one move as a step."""
        letter = self._letters.get(deed.target, deed.target)
        word = letter.lower()
        if deed.do in ("clear", "mark"):
            of = self._runs.get(deed.run, {})
            state = {"state": deed.state} if deed.do == "mark" else {}
            yield f"{deed.do}s-{deed.task}", {deed.do: deed.task, **state, **of}
        elif deed.do == "mark-run":
            yield f"marks-run-{deed.run}", {deed.do: deed.state, **self._runs.get(deed.run, {})}
        elif deed.do == "resize":
            yield f"resizes-{deed.target}", {deed.do: deed.target, "slots": int(deed.state)}
        elif deed.do == "cancel":
            yield f"{here.session.lower()}-fails", {"cancel": here.session}
        elif deed.do == "silence":
            silent = {"fault": "watch-broken", "on": letter, "with": {"how": "silent"}}
            yield f"{word}-hears-nothing", silent
        elif deed.do == "tell":
            yield f"{word}-is-told", {"heal": "watch-broken", "on": letter}
        else:
            verbs = {"kill": ("dies", "kill"), "pause": ("freezes", "freeze"),
                     "resume": ("goes-on", "resume")}  # fmt: skip
            how, verb = verbs[deed.do]
            yield f"{word}-{how}", {verb: letter}

    def _work(self) -> tuple[list[Written], list[Written]]:
        """Return the work that begins the scenario, and what waits until somebody is held."""
        begins: list[Written] = []
        later: list[Written] = []
        for deed in self._schedule.deeds:
            where = begins if deed.at == 0 else later
            if deed.do == "trigger" and deed.target in self._dags:
                where.append(self._trigger(deed))
            elif deed.do == "update":
                name = f"updates-{deed.target}-{len(begins) + len(later)}"
                where.append((name, {"update": deed.target}))
        return begins, later

    def _trigger(self, deed: Deed) -> Written:
        """Return the step that begins a run; all but the first have a name of their own."""
        begun = [each for each in self._schedule.deeds if each.do == "trigger"]
        same = [each.run for each in begun if each.target == deed.target]
        run = f"{deed.target}-run-{same.index(deed.run) + 1}"
        self._runs[deed.run] = {"of": run} if self._runs else {}
        named = {"as": run} if len(self._runs) > 1 else {}
        return f"{run}-begins", {"trigger": deed.target, **named}


def _point(schedule: Schedule, point: str, dag: str) -> dict[str, Any]:
    """Return how a scenario names the point: by a name, by table and pattern, or as a commit.

    Or by the request to the Kubernetes API that it is at.
    """
    if request := next((each for each in PODS if requested(each).name == point), None):
        return {"request": request.verb, "when": request.when}
    if point.startswith("commit-"):
        written = point.removeprefix("commit-").split("+")
        watched = [each.table for each in _tables(schedule) if each.commits]
        return {"commit": _first(watched, written, point)}
    if known := STATEMENTS.get(point):
        given = {"dag": dag, "consumer": "consumer", "asset": "a"}
        values = {word: given[word] for word in known.values}
        return {"statement": point} | ({"with": values} if values else {})
    if point not in schedule.statements:
        raise UserError(
            f"It yields at {point}, which is not among the schedule's statements.", AGAIN
        )
    tables, pattern = schedule.statements[point]
    watched = [each.table for each in _tables(schedule) if not each.commits]
    return {"table": _first(watched, tables.split(","), point), "matching": pattern}


def _tables(schedule: Schedule) -> list[Watched]:
    return [each for each in schedule.watched if isinstance(each, Watched)]


def _first(watched: Sequence[str], tables: Sequence[str], point: str) -> str:
    """Return the table at which a point is; UserError where none of its tables is watched."""
    for table in watched:
        if table in tables:
            return table
    raise UserError(f"It yields at {point}, which is at none of the schedule's points.", AGAIN)


def _until(violation: Violation, held: str) -> tuple[dict[str, Any], str]:
    """Return what another scheduler did last before the promise was broken, and which."""
    for event in reversed(violation.events):
        if not isinstance(event, DagRunEvent | TaskInstanceEvent) or event.process == held:
            continue
        if event.process in _SCHEDULERS and (done := _done(event)):
            return done, event.process
    return {"run": "running", "of": "all"}, ""


def _done(event: DagRunEvent | TaskInstanceEvent) -> dict[str, Any] | None:
    if isinstance(event, DagRunEvent):
        return {"run": event.new, "of": "all"} if event.new else None
    if event.new is None or event.new.state not in ("scheduled", "queued"):
        return None
    return {"task": event.ti.task_id, "state": event.new.state, "of": "all"}
