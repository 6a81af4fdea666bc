"""From a shrunken schedule to a scenario: a found race becomes a permanent test.

    Y yields at a point    -->  hold Y there; the others go on, until they have done what the
                                history shows they did before the promise was broken; release Y
    a move before a point  -->  hold there who stands there, make the move, release

These are its stations, one after the other; all holds stand before anybody goes on. It is a
proposal: a person gives it its name, its cause and the releases that have it.
"""

from pathlib import Path
from typing import Any

import yaml

from common.errors import UserError
from explore.plan import defers
from explore.schedule import Schedule
from explore.stations import AGAIN, Steps, sessions, stations
from oracle import witness
from oracle.events import DagRunEvent
from oracle.history import HistoryError, read
from oracle.invariants import Violation
from oracle.invariants.legal_transition import LegalTransition, transition_of
from oracle.verdict import Judge, Judgement

_ORPHANS = "AIRFLOW__SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL"
"""Seconds after which peers look for who is dead; Airflow's default is 300."""


def judged(history: Path) -> Judgement:
    """Judge the history beside a schedule. UserError where there is none that can be read."""
    if not history.exists():
        raise UserError(
            f"There is no history beside the schedule ({history}).",
            AGAIN,
        )
    try:
        header, events = read(history)
        judge = Judge(header)
        for event in events:
            judge.feed(event)
    except (HistoryError, OSError) as error:
        raise UserError(f"{' '.join(str(error).split())}.".replace("..", "."), AGAIN) from error
    return judge.conclude()


def scenario(schedule: Schedule, judgement: Judgement, name: str) -> str:
    """Return the YAML of a scenario, with the witness as a comment above it.

    Raises UserError for a schedule that is not shrunken, or has neither preemptions nor moves.
    """
    if schedule.steps:
        raise UserError(
            "The schedule is not shrunken.",
            "Shrink it first: python -m explore shrink FILE.",
        )
    if any(not deed.before for deed in schedule.moves):
        raise UserError("The schedule does not say before which points its moves are.", AGAIN)
    if not schedule.yields and not schedule.moves:
        raise UserError(
            "The schedule has neither preemptions nor moves to force.",
            "Keep the schedule itself: python -m explore replay FILE shows the race.",
        )
    data = _scenario(schedule, judgement, name)
    told = "".join(f"# {line}\n" for line in witness.text(judgement).splitlines())
    body = yaml.safe_dump(data, sort_keys=False, width=100, default_flow_style=None)
    return f"# Found by exploration (seed {schedule.seed}, round {schedule.round}):\n{told}{body}"


def _shown(schedule: Schedule, judgement: Judgement) -> Violation:
    wanted = [v for v in judgement.violations if v.invariant in schedule.broken]
    if not wanted:
        raise UserError("The history beside the schedule shows none of the promises broken.", AGAIN)
    return min(wanted, key=lambda each: each.t)


def _scenario(schedule: Schedule, judgement: Judgement, name: str) -> dict[str, Any]:
    violation = _shown(schedule, judgement)
    there = stations(schedule)
    steps = Steps(schedule, violation, there, _dags(schedule, violation)).write()
    by = (each for each in judgement.violations if each.invariant == LegalTransition.name)
    transitions = sorted({transition_of(each.message) for each in by} - {""})
    settings = {key: value for key, value in schedule.settings.items() if "AIRFLOW__" in key}
    if any(deed.do in ("kill", "pause") for deed in schedule.moves):
        settings[_ORPHANS] = "5"
    return {
        "scenario": name,
        "title": violation.message.split(", but ")[0],
        "issue": f"found by exploration, not filed (seed {schedule.seed}, round {schedule.round})",
        "has": f"=={schedule.airflow}",
        "breaks": list(schedule.broken),
        **({"transitions": transitions} if LegalTransition.name in schedule.broken else {}),
        "because": violation.message,
        "severity": "medium",
        "meanwhile": "Not known yet.",
        "setup": {
            "shapes": _shapes(schedule, violation),
            **({"sleep": 2} if any("trigger" in each for each in steps.values()) else {}),
            "schedulers": 2,
            **({"triggerers": 1} if defers(schedule.settings) else {}),
            **({"settings": _sections(settings)} if settings else {}),
        },
        "sessions": sessions(there),
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
    """Return the DAGs that the violation is about, as its witness names them, and the moves."""
    named = [deed.target for deed in schedule.moves if deed.do in ("clear", "mark", "mark-run")]
    named += [event.dag_id for event in violation.events if isinstance(event, DagRunEvent)]
    if violation.ti is not None:
        named.append(violation.ti.dag_id)
    triggered = [deed.target for deed in schedule.deeds if deed.do == "trigger"]
    return [dag for dag in dict.fromkeys(named) if dag in triggered] or triggered


def _shapes(schedule: Schedule, violation: Violation) -> str:
    written = {shape.replace(":", "-"): shape for shape in schedule.shapes.split(",")}
    wanted = [written[dag] for dag in _dags(schedule, violation) if dag in written]
    if any(deed.do == "update" for deed in schedule.deeds):
        wanted += ["producer", "consumer"]
    return ",".join(dict.fromkeys(wanted))
