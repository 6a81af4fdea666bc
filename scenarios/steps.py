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
unpause-dag        let a DAG go on that was paused, before that
drain-dag          have a DAG finish its runs and then be paused (since Airflow 3.4)
backfill           have the runs of a DAG made for its days (shape `daily`); cancelled at the end
clear, mark        clear a task of a run, or mark it (`state: success`), as a person does
mark-run           mark a whole run (`mark-run: failed`, or success), as a person does
delete-run         delete a run of a DAG and all that is of it (`delete-run: DAG`)
resize             give a pool as many slots (`resize: default_pool, slots: 1`), until the
                   permutation is over
aside              with `clear`, `update` or `backfill`, `aside: true` goes on to the next step
                   before the API server has answered, as when it is held; that it did is asked at
                   the end
free               state that nothing disturbs a session from here on (oracle: queued-in-time)
trigger            a DAG's run; a second one of a scenario has a name (`as: second`)
update             an asset, by an event from outside of Airflow; with `partition: k`, one of its
                   partitions, whose key begins so and is of no other permutation
until              wait for runs or for task instances; `of: second`, or `of: all` its runs, or
                   `dag: X` any run of a DAG, as one that assets set off; with `again: true`, for
                   one more than the last `until` saw
wait               seconds
settle             wait for the end of all runs
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from typing import Any

from chaos import named
from chaos.base import ANY_WORKER, Fault
from chaos.holds.points import STATEMENTS
from chaos.holds.request import RequestPoint
from chaos.holds.worker_request import PLACES
from chaos.kube_api import KubeApiFault
from common.errors import UserError
from dags.shapes import Shape
from oracle import old_names
from oracle.states import FINISHED, IN_HAND, WAITING
from scenarios.words import check_keys, flow, hint, known

_OF_A_SESSION = (
    *("pause", "freeze", "resume", "free", "hold", "release", "held", "pass"),
    *("cancel", "terminate", "kill", "start"),
)
_OF_A_WORKER = ("hold", "held", "pass", "cancel", "terminate", "release")
VERBS = (
    *(*_OF_A_SESSION, "fault", "heal", "trigger", "update"),
    *("pause-dag", "unpause-dag", "drain-dag", "backfill"),
    *("clear", "mark", "mark-run", "delete-run", "resize"),
    *("until", "wait", "settle"),
)
_AT_A_REQUEST = frozenset({"request", "state", "of", "when"})
_OF_A_REQUEST = frozenset({"request", "when", "pods", "labels"})
_OPTIONS = {
    "hold": {"statement", "with", "table", "matching", "commit", "row", *_OF_A_REQUEST},
    "fault": {"on", "with"},
    "heal": {"on"},
    "trigger": {"as"},
    "update": {"partition", "aside"},
    "clear": {"of", "aside"},
    "backfill": {"aside"},
    "mark": {"of", "state"},
    "mark-run": {"of"},
    "delete-run": {"of"},
    "resize": {"slots"},
}
_POWERS = {
    "pause": "pause", "freeze": "pause", "hold": "hold", "kill": "kill", "resize": "pools"
}  # fmt: skip
_MARKS = ("success", "failed", "skipped")
_RUN_MARKS = ("success", "failed")
_RUN_STATES = ("queued", "running", "success", "failed")
_STATES = tuple(sorted(FINISHED | WAITING | IN_HAND))
_WORKER_REQUESTS = (
    *("run", "state", "heartbeat", "rtif", "skip-downstream", "rendered-map-index"),
    *("validate-inlets-and-outlets", "previous-successful-dagrun", "dag-run-note"),
    *("asset-events", "assets", "callbacks", "connections", "dag-runs", "dags", "health"),
    *("hitlDetails", "store", "task-instances", "variables", "xcoms"),
)
"""The execution API of 3.0 to 3.4, as chaos.holds.worker_request names its requests."""

_PARTS = {
    "until": ("run", "task", "state", "count", "by", "of", "dag", "again"),
    "settle": ("at_most", "after_violation"),
}
_AFTER_VIOLATION = 20.0
"""Seconds that `settle` gives to what becomes of a violation, unless the step says."""

_KINDS = {
    "a mapping": ("until", "settle", "with", "row"),
    "seconds (a number from 0 up)": ("wait", "at_most", "after_violation"),
    "a whole number from 1 up": ("count", "slots"),
    "true or false": ("again", "aside"),
}
"""What the value of a word must be; that of every other is text."""


@dataclass(frozen=True)
class Cast:
    """Whom and what steps can be about: sessions by name, and DAGs by id."""

    sessions: Mapping[str, str]
    dags: Mapping[str, Shape]

    @property
    def tasks(self) -> Mapping[str, object]:
        """Return the tasks of all DAGs, by id."""
        return {node.task_id: node for shape in self.dags.values() for node in shape.nodes}

    @property
    def assets(self) -> Mapping[str, object]:
        """Return the assets that the DAGs know."""
        shapes = self.dags.values()
        set_off = [asset for shape in shapes for asset in shape.scheduled_on]
        updated = [asset for shape in shapes for node in shape.nodes for asset in node.outlets]
        return dict.fromkeys(sorted({*set_off, *updated}))


@dataclass(frozen=True)
class Step:
    """One deed: a verb and what it is done to: a session, a DAG, or the fault itself.

    `line` is where it stands in its scenario's file, 0 where nobody knows.
    """

    name: str
    verb: str
    target: Any
    options: Mapping[str, Any] = field(default_factory=dict)
    line: int = field(default=0, compare=False)

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


def step(name: str, written: Any, cast: Cast) -> Step:
    """Read one step. Raises ValueError with its name, in words for its writer."""
    if not isinstance(written, Mapping):
        raise ValueError(f"step {name!r} must be a deed, as {{pause: A}}, not {flow(written)}")
    what: dict[str, Any] = {
        str(old_names.STEPS.get(word, word)): value for word, value in written.items()
    }
    made = Step(name, _verb(name, what), *_parted(what))
    _check_words(made)
    _check_names(made, cast)
    try:
        return _checked(made, cast)
    except UserError as error:
        raise ValueError(f"step {name!r}: {error}") from error


def _verb(name: str, what: Mapping[str, Any]) -> str:
    """Return the one verb of a step."""
    verbs = [word for word in what if word in VERBS]
    if len(verbs) == 1:
        return verbs[0]
    if verbs:
        raise ValueError(f"step {name!r} needs exactly one verb, and has {', '.join(verbs)}")
    first = next(iter(what), "")
    said = f"; {first} is none ({hint(first, VERBS)})" if first else f": {', '.join(VERBS)}"
    raise ValueError(f"step {name!r} needs exactly one verb{said}")


def _parted(what: Mapping[str, Any]) -> tuple[Any, Mapping[str, Any]]:
    """Return what a step is done to, and its options."""
    options = dict(what)
    (target,) = (options.pop(word) for word in what if word in VERBS)
    return target, options


def _checked(made: Step, cast: Cast) -> Step:
    """Return a step that makes sense, its target as it is performed."""
    name, what = made.name, made.options
    if made.verb == "fault":
        process = cast.sessions.get(what.get("on", ""))
        return replace(made, target=named.fault(made.target, process, what.get("with")))
    if made.verb == "hold":
        (_check_request if made.of_worker else _check_hold)(name, what)
    if made.verb == "mark":
        _of(what.get("state", "none"), _MARKS, f"step {name!r} marks as no state")
    if made.verb == "mark-run":
        _of(made.target, _RUN_MARKS, f"step {name!r} marks a run as no state")
    if made.verb == "resize" and "slots" not in what:
        raise ValueError(f"step {name!r} does not say to how many slots; write `slots: 1`")
    if made.verb == "until":
        _check_until(made, cast)
    if made.verb == "settle":
        if "at_most" not in made.target:
            raise ValueError(f"step {name!r} settles without an end; write {{at_most: SECONDS}}")
        return replace(made, target={"after_violation": _AFTER_VIOLATION, **made.target})
    return replace(made, target=float(made.target)) if made.verb == "wait" else made


def _of(word: str, there: Sequence[str], complaint: str) -> None:
    """Raise ValueError where a word is none of those that there are."""
    known(word, dict.fromkeys(there), complaint)


def _check_words(step: Step) -> None:
    """Raise ValueError for a word that its verb does not take, or a value that is none of it."""
    of_worker_hold = step.of_worker and step.verb == "hold"
    words = _AT_A_REQUEST if of_worker_hold else _OPTIONS.get(step.verb, set())
    check_keys(step.options, words, f"step {step.name!r} does not know")
    given = {step.verb: step.target, **step.options}
    _check_values(step, given)
    if step.verb in _PARTS:
        check_keys(step.target, _PARTS[step.verb], f"step {step.name!r} does not know")
        _check_values(step, step.target)


def _check_values(step: Step, given: Mapping[str, Any]) -> None:
    for word, value in given.items():
        kind = next((kind for kind, words in _KINDS.items() if word in words), "text")
        if value is None or value == "":
            raise ValueError(f"step {step.name!r}: {word} has no value; it must be {kind}")
        if not _is(kind, value):
            told = f"{word} must be {kind}, not {flow(value)}"
            raise ValueError(f"step {step.name!r}: {told}")


def _is(kind: str, value: Any) -> bool:
    """Tell whether a value is of a kind of `_KINDS`."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if kind == "a mapping":
        return isinstance(value, Mapping)
    if kind.startswith("seconds"):
        return number and value >= 0 and math.isfinite(value)
    if kind.startswith("a whole"):
        return number and isinstance(value, int) and value >= 1
    return isinstance(value, bool) if kind == "true or false" else isinstance(value, str)


def _check_names(step: Step, cast: Cast) -> None:
    """Raise ValueError for a session, DAG, task or asset that the scenario has not."""
    verb, target = step.verb, step.target
    if verb in _OF_A_SESSION and not step.of_worker:
        known(target, cast.sessions, f"step {step.name!r} names no session")
    if "on" in step.options:
        known(step.options["on"], cast.sessions, f"step {step.name!r} names no session")
    if verb in ("trigger", "pause-dag", "unpause-dag", "drain-dag", "backfill", "delete-run"):
        known(target, cast.dags, f"step {step.name!r}: the shapes make no such DAG")
    if verb == "update":
        known(target, cast.assets, f"step {step.name!r}: the shapes have no such asset")
    if verb in ("clear", "mark"):
        known(target, cast.tasks, f"step {step.name!r}: the shapes have no such task")


def _check_until(step: Step, cast: Cast) -> None:
    """Raise ValueError where it cannot be told what is waited for, or where that cannot be."""
    wanted, complaint = step.target, f"step {step.name!r}"
    if ("run" in wanted) == ("state" in wanted):
        raise ValueError(
            f"{complaint} waits for a run (`run: running`) or for task instances"
            f" (`state: queued`): write one of the two in `until`"
        )
    if "run" in wanted:
        if "task" in wanted:
            raise ValueError(f"{complaint}: task goes with state, not with run")
        _of(wanted["run"], _RUN_STATES, f"{complaint}: runs have no such state")
    else:
        _of(wanted["state"], _STATES, f"{complaint}: task instances have no such state")
    if "dag" in wanted and "of" in wanted:
        raise ValueError(f"{complaint} is either of a run (`of`) or of any run of a DAG (`dag`)")
    there: Mapping[str, Mapping[str, object]] = {
        "by": cast.sessions, "dag": cast.dags, "task": cast.tasks
    }  # fmt: skip
    words = {"by": "names no session", "dag": "names no DAG", "task": "names no task"}
    for word, names in there.items():
        if word in wanted:
            known(wanted[word], names, f"{complaint} {words[word]}")


def _check_request(step: str, what: Mapping[str, Any]) -> None:
    """Raise ValueError where no request is named, or no place at which it can be held."""
    if "request" not in what:
        raise ValueError(f"step {step!r} names no request (`request: state`, run, heartbeat ..)")
    when = what.get("when", "before")
    known(when, PLACES, f"step {step!r}: a request is held before or after")
    for word, there, whose in (
        ("request", _WORKER_REQUESTS, "workers send no such request"),
        ("state", _STATES, "workers tell of no such state"),
    ):
        pattern = what.get(word, "*")
        if not any(fnmatchcase(each, pattern) for each in there):
            _of(pattern, there, f"step {step!r}: {whose}")


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
    if "commit" not in what:
        _check_statement(step, what)


def _check_statement(step: str, what: Mapping[str, Any]) -> None:
    """Raise ValueError for a statement without a name, or with other values than it takes."""
    name = what.get("statement", "running-dag-runs")
    statement = known(name, STATEMENTS, f"step {step!r} names an unknown statement")
    if set(what.get("with", {})) != set(statement.values):
        wanted = ", ".join(statement.values) or "no values"
        raise ValueError(f"step {step!r}: the statement {name} takes {wanted} (`with:`)")
    for each, given in what.get("with", {}).items():
        if not isinstance(given, str):
            raise ValueError(f"step {step!r}: {each} must be text, not {flow(given)}")
