"""The steps of scenarios: one deed each, a verb and what it is done to.

pause, resume      freeze a session between two transactions; let it go on
freeze             freeze a session wherever it stands, with all the locks that it holds
hold, release      hold a session at a point, and let it go on. The point is the statement that
                   a scheduler locks its runs with; another of chaos.holds.points.STATEMENTS
                   (`statement: dag-by-id`, with its values: `with: {dag: x}`), or one without a
                   name (`table: asset_event, matching: '%FROM asset_event %'`, a LIKE pattern:
                   held where it scans the table); or where it
                   commits what it wrote into a table (`commit: dag_run`), a row that has some
                   values (`row: {state: running}`); or its request to the Kubernetes API
                   (`request: create`), `when: before` it is processed or `after`, of `pods` by
                   name (`pods: dag-*`) or by `labels`
                   A worker is held at a request to the API server: `{ hold: worker, request:
                   state, of: TASK, when: before }`, or after, with the answer; `state: success`
                   for those that say so. `held`, `pass`, `cancel` .. take `worker` as well
                   Two sessions of one process hold it at two points
held, pass         wait until it is held there; let it pass once
cancel, terminate  have what it is held in fail; have its connection closed
fault, heal        begin any fault of chaos/ by its name (`fault: pod-answer-lost, on: A`, with
                   its values: `with: {request: create}`); end it, once it has struck
kill, start        kill a session (SIGKILL); have it started again
pause-dag          pause a DAG until the permutation is over, as a person does
clear, mark        clear a task of a run, or mark it (`state: success`), as a person does
free               state that nothing disturbs a session from here on (oracle: queued-in-time)
trigger            a DAG's run; a second one of a scenario has a name (`as: second`)
update             an asset, by an event from outside of Airflow
until              wait for runs or for task instances; `of: second`, or `of: all` its runs, or
                   `dag: X` any run of a DAG, as one that assets set off; with `again: true`, for
                   one more than the last `until` saw
wait               seconds
settle             wait for the end of all runs
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from typing import Any, TypeVar

from chaos import named
from chaos.base import ANY_WORKER, Fault
from chaos.holds.points import STATEMENTS
from chaos.holds.request import RequestPoint
from chaos.holds.worker_request import PLACES
from chaos.kube_api import KubeApiFault
from oracle import old_names

T = TypeVar("T")

_OF_A_SESSION = (
    *("pause", "freeze", "resume", "free", "hold", "release", "held", "pass"),
    *("cancel", "terminate", "kill", "start"),
)
_OF_A_WORKER = ("hold", "held", "pass", "cancel", "terminate", "release")
VERBS = (
    *(*_OF_A_SESSION, "fault", "heal", "trigger", "update", "pause-dag", "clear", "mark"),
    *("until", "wait", "settle"),
)
_AT_A_REQUEST = {"request", "state", "of", "when"}
_OF_A_REQUEST = frozenset({"request", "when", "pods", "labels"})
_OPTIONS = {
    "hold": {"statement", "with", "table", "matching", "commit", "row", *_OF_A_REQUEST},
    "fault": {"on", "with"},
    "heal": {"on"},
    "trigger": {"as"},
    "clear": {"of"},
    "mark": {"of", "state"},
}
_POWERS = {"pause": "pause", "freeze": "pause", "hold": "hold", "kill": "kill"}
_MARKS = ("success", "failed", "skipped")
_PARTS = {
    "until": {"run", "task", "state", "count", "by", "of", "dag", "again"},
    "settle": {"at_most", "after_violation"},
}


@dataclass(frozen=True)
class Step:
    """One deed: a verb and what it is done to: a session, a DAG, or the fault itself."""

    name: str
    verb: str
    target: Any
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def of_worker(self) -> bool:
        """Whether it is of a worker, which is no session."""
        return self.verb in _OF_A_WORKER and self.target == ANY_WORKER

    @property
    def powers(self) -> Sequence[str]:
        """Return what a lab must be able to do for it."""
        if isinstance(self.target, Fault):
            return self.target.needs
        if self.of_worker:
            return ["worker-requests"]
        if self.verb == "hold" and "request" in self.options:
            return KubeApiFault.powers
        return [_POWERS[self.verb]] if self.verb in _POWERS else []


def known(name: str, there: Mapping[str, T], complaint: str) -> T:
    """Return what has a name; ValueError with the nearest name there is."""
    if name in there:
        return there[name]
    near = get_close_matches(str(name), there, 1)
    hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(there)}"
    raise ValueError(f"{complaint}: {name} ({hint})")


def step(name: str, written: Mapping[str, Any], sessions: Mapping[str, str]) -> Step:
    """Read one step. Raises ValueError, and UserError for a fault that cannot be made."""
    what = {old_names.STEPS.get(word, word): value for word, value in written.items()}
    verbs = [verb for verb in what if verb in VERBS]
    if len(verbs) != 1:
        raise ValueError(f"step {name!r} needs exactly one of: {', '.join(VERBS)}")
    verb = verbs[0]
    target = what.pop(verb)
    made = Step(name, verb, target, what)
    _check_words(made)
    for session in [target] * (verb in _OF_A_SESSION and not made.of_worker) + _on(what):
        known(session, sessions, f"step {name!r} names no session")
    if verb == "fault":
        fault = named.fault(target, sessions.get(what.get("on", "")), what.get("with"))
        return replace(made, target=fault)
    if verb == "hold":
        (_check_request if made.of_worker else _check_hold)(name, what)
    if verb == "mark":
        known(what.get("state", ""), dict.fromkeys(_MARKS), f"step {name!r} marks as no state")
    return replace(made, target=float(target)) if verb == "wait" else made


def _on(what: Mapping[str, Any]) -> list[str]:
    return [what["on"]] if "on" in what else []


def _check_words(step: Step) -> None:
    """Raise ValueError for a word that its verb does not take."""
    of_worker_hold = step.of_worker and step.verb == "hold"
    words = _AT_A_REQUEST if of_worker_hold else _OPTIONS.get(step.verb, set())
    unknown = set(step.options) - words
    if step.verb in _PARTS:
        unknown |= set(step.target) - _PARTS[step.verb]
    if unknown:
        raise ValueError(f"step {step.name!r} does not know {', '.join(sorted(unknown))}")


def _check_request(step: str, what: Mapping[str, Any]) -> None:
    """Raise ValueError where no request is named, or no place at which it can be held."""
    if not isinstance(what.get("request"), str):
        raise ValueError(f"step {step!r} names no request (`request: state`, run, heartbeat ..)")
    when = what.get("when", "before")
    known(when, PLACES, f"step {step!r}: a request is held before or after")


def check_heals(steps: Iterable[Step]) -> None:
    """Raise ValueError where a fault is healed that no step before has begun."""
    begun = set()
    for step in steps:
        if step.verb == "fault":
            begun.add((step.target.name, step.options.get("on")))
        elif step.verb == "heal" and (step.target, step.options.get("on")) not in begun:
            raise ValueError(f"step {step.name!r} heals what no step before it has begun")


def _check_hold(step: str, what: Mapping[str, Any]) -> None:
    """Raise ValueError where a point is named twice, by no name, or by values that it lacks."""
    if of_a_request := sorted(_OF_A_REQUEST & what.keys()):
        if "request" not in what or what.keys() - _OF_A_REQUEST:
            raise ValueError(f"step {step!r}: {', '.join(of_a_request)} is of a request alone")
        RequestPoint(**what)
        return
    if "commit" in what and ("statement" in what or "with" in what):
        raise ValueError(f"step {step!r} is either of a statement or of a commit")
    of_a_scan = {"table", "matching"} & what.keys()
    if of_a_scan:
        if len(of_a_scan) < 2 or len(what) > 2:
            raise ValueError(
                f"step {step!r}: a statement without a name has `table` and `matching`"
            )
        return
    if "row" in what and "commit" not in what:
        raise ValueError(f"step {step!r} has a row of no commit")
    if "commit" in what:
        return
    name = what.get("statement", "running-dag-runs")
    statement = known(name, STATEMENTS, f"step {step!r} names an unknown statement")
    if set(what.get("with", {})) != set(statement.values):
        wanted = ", ".join(statement.values) or "no values"
        raise ValueError(f"step {step!r}: the statement {name} takes {wanted} (`with:`)")
