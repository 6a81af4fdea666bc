"""From a shrunken schedule to a scenario: a found race becomes a permanent test.

    Y yields at a point  -->  hold Y there; the other goes on, until it has done what the history
                              shows it did before the promise was broken; release Y

It is a proposal: a person gives it its name, its cause and the releases that have it.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from chaos.holds.points import STATEMENTS
from common.errors import UserError
from explore.points import PODS, Watched, requested
from explore.schedule import Deed, Schedule
from oracle import witness
from oracle.events import DagRunEvent, Event, TaskInstanceEvent
from oracle.history import HistoryError, read
from oracle.invariants import Violation
from oracle.verdict import Judge, Judgement

_ROLES = ("scheduler", "triggerer", "api-server")
_AGAIN = "Shrink the schedule again: python -m explore shrink FILE; it writes both files."


def judged(history: Path) -> Judgement:
    """Judge the history beside a schedule. UserError where there is none that can be read."""
    if not history.exists():
        raise UserError(
            f"There is no history beside the schedule ({history}).",
            _AGAIN,
        )
    try:
        header, events = read(history)
        judge = Judge(header)
        for event in events:
            judge.feed(event)
    except (HistoryError, OSError) as error:
        raise UserError(f"{' '.join(str(error).split())}.".replace("..", "."), _AGAIN) from error
    return judge.conclude()


def scenario(schedule: Schedule, judgement: Judgement, name: str) -> str:
    """Return the YAML of a scenario, with the witness as a comment above it.

    Raises UserError for a schedule that is not shrunken, or that does not yield at one point.
    """
    if schedule.steps:
        raise UserError(
            "The schedule is not shrunken.",
            "Shrink it first: python -m explore shrink FILE.",
        )
    if schedule.moves:
        moves = ", ".join(dict.fromkeys(deed.do for deed in schedule.moves))
        raise UserError(
            f"The schedule has moves ({moves}); so far a scenario is made of an order alone.",
            "Keep the schedule itself: python -m explore replay FILE shows the race.",
        )
    if len(schedule.yields) != 1:
        count = len(schedule.yields) or "no"
        raise UserError(
            f"The schedule has {count} preemptions; so far a scenario is made of one only.",
            "Keep the schedule itself: python -m explore replay FILE shows the race.",
        )
    violation = _shown(schedule, judgement)
    data = _scenario(schedule, violation, name)
    told = "".join(f"# {line}\n" for line in witness.text(judgement).splitlines())
    body = yaml.safe_dump(data, sort_keys=False, width=100, default_flow_style=None)
    return f"# Found by exploration (seed {schedule.seed}, round {schedule.round}):\n{told}{body}"


def _shown(schedule: Schedule, judgement: Judgement) -> Violation:
    wanted = [v for v in judgement.violations if v.invariant in schedule.broken]
    if not wanted:
        raise UserError("The history beside the schedule shows none of the promises broken.")
    return min(wanted, key=lambda each: each.t)


def _scenario(schedule: Schedule, violation: Violation, name: str) -> dict[str, Any]:
    held, point = schedule.yields[0].split()
    other = "scheduler-1" if held == "scheduler-2" else "scheduler-2"
    deeds, later = _deeds(schedule, violation)
    steps: dict[str, dict[str, Any]] = {
        "a-sleeps": {"pause": "A"},
        "b-sleeps": {"pause": "B"},
        **dict(deeds),
        "hold-b": {"hold": "B", **_point(schedule, point, violation)},
        "b-wakes": {"resume": "B"},
        "b-is-held": {"held": "B"},
        "a-wakes": {"resume": "A"},
        **dict(later),
        "a-has-acted": {"until": _until(violation, held)},
        "release-b": {"release": "B"},
    }
    begun = any("trigger" in what for what in steps.values())  # what assets begin has no such end
    steps["settles"] = {"settle": {"at_most": 60, "after_violation": 20}} if begun else {"wait": 30}
    settings = {key: value for key, value in schedule.settings.items() if "AIRFLOW__" in key}
    return {
        "scenario": name,
        "title": violation.message.split(", but ")[0],
        "issue": f"found by exploration, not filed (seed {schedule.seed}, round {schedule.round})",
        "has": f"=={schedule.airflow}",
        "breaks": list(schedule.broken),
        "because": violation.message,
        "severity": "medium",
        "meanwhile": "Not known yet.",
        "setup": {
            "shapes": _shapes(schedule, violation),
            "sleep": 2,
            "schedulers": 2,
            **({"settings": _sections(settings)} if settings else {}),
        },
        "sessions": {"A": other, "B": held},
        "steps": steps,
        "permutations": {"found": {"steps": list(steps)}},
    }


def _sections(settings: dict[str, str]) -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = {}
    for key, value in settings.items():
        _, section, option = key.lower().split("__", 2)
        found.setdefault(section, {})[option] = value
    return found


def _dags(schedule: Schedule, violation: Violation) -> list[str]:
    """Return the DAGs that the violation is about, as its witness names them."""
    events = [e for e in violation.events if isinstance(e, DagRunEvent)]
    named = {event.dag_id for event in events}
    if violation.ti is not None:
        named.add(violation.ti.dag_id)
    return [dag for dag in named if any(deed.target == dag for deed in schedule.deeds)] or [
        deed.target for deed in schedule.deeds if deed.do == "trigger"
    ]


def _shapes(schedule: Schedule, violation: Violation) -> str:
    written = {shape.replace(":", "-"): shape for shape in schedule.shapes.split(",")}
    wanted = [written[dag] for dag in _dags(schedule, violation) if dag in written]
    if any(deed.do == "update" for deed in schedule.deeds):
        wanted += ["producer", "consumer"]
    return ",".join(dict.fromkeys(wanted))


def _deeds(
    schedule: Schedule, violation: Violation
) -> tuple[list[tuple[str, dict[str, Any]]], list[tuple[str, dict[str, Any]]]]:
    """Return the deeds that begin the scenario, and those that wait until B is held."""
    dags = _dags(schedule, violation)
    begins: list[tuple[str, dict[str, Any]]] = []
    later: list[tuple[str, dict[str, Any]]] = []
    numbers: dict[str, int] = {}
    for deed in schedule.deeds:
        where = begins if deed.at == 0 else later
        if deed.do == "trigger" and deed.target in dags:
            numbers[deed.target] = numbers.get(deed.target, 0) + 1
            where.append(_trigger(deed, numbers[deed.target], dags))
        elif deed.do == "update":
            where.append(
                (f"updates-{deed.target}-{len(begins) + len(later)}", {"update": deed.target})
            )
    return begins, later


def _trigger(deed: Deed, number: int, dags: Sequence[str]) -> tuple[str, dict[str, Any]]:
    first = deed.target == dags[0] and number == 1
    run = f"{deed.target}-run-{number}"
    return f"{run}-begins", {"trigger": deed.target} | ({} if first else {"as": run})


def _point(schedule: Schedule, point: str, violation: Violation) -> dict[str, Any]:
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
        dag = _dags(schedule, violation)[0]
        given = {"dag": dag, "asset": "a"}
        values = {word: given[word] for word in known.values}
        return {"statement": point} | ({"with": values} if values else {})
    if point not in schedule.statements:
        raise UserError(
            f"It yields at {point}, which is not among the schedule's statements.", _AGAIN
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
    raise UserError(f"It yields at {point}, which is at none of the schedule's points.", _AGAIN)


def _until(violation: Violation, held: str) -> dict[str, Any]:
    """Return what the other one did last before the promise was broken."""
    for event in reversed(violation.events):
        if done := _done(event, held):
            return done
    return {"run": "running", "of": "all"}


def _done(event: Event, held: str) -> dict[str, Any] | None:
    if not isinstance(event, DagRunEvent | TaskInstanceEvent) or event.process == held:
        return None
    if not event.process.startswith(_ROLES[0]):
        return None
    if isinstance(event, DagRunEvent):
        return {"run": event.new, "of": "all", "by": "A"} if event.new else None
    if event.new is None or event.new.state not in ("scheduled", "queued"):
        return None
    return {"task": event.ti.task_id, "state": event.new.state, "of": "all", "by": "A"}
