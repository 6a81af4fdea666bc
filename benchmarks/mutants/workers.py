"""Ways of breaking what is promised of pods, workers, what they report, and of processes."""

from collections.abc import Callable, Iterator

from msgspec import structs

from benchmarks.mutants.making import (
    LATER,
    OTHER,
    Events,
    Make,
    Mutants,
    Way,
    after,
    among,
    changed,
    instead,
    moves,
    step,
)
from oracle.events import (
    AnswerEvent,
    DagRunEvent,
    Event,
    FaultEvent,
    HoldEvent,
    LedgerEvent,
    PodEvent,
    ProcessEvent,
    Refusal,
    TaskInstanceEvent,
    WorkerEvent,
)
from oracle.invariants.stops_in_time import STOP
from oracle.states import FAILED, RUNNING, SKIPPED, SUCCESS, UP_FOR_RETRY

API = "api-server"


def _second_pod(phase: str, second: str = "Pending") -> Make:
    """Have a second pod come, in some phase, when the first is in another."""

    def mutants(events: Events) -> Mutants:
        for place, event in enumerate(events):
            is_it = isinstance(event, PodEvent) and event.phase == phase and event.ti
            if is_it and isinstance(event, PodEvent) and _is_live(event):
                yield after(events, place, _twin(event, phase=second))

    return mutants


def _twin(event: PodEvent, **changes: object) -> PodEvent:
    made = {"op": "added", "name": f"{event.name}-b", "uid": f"{event.uid}-b", "phase": "Pending"}
    return structs.replace(event, **{**made, **changes})


def _is_live(event: PodEvent) -> bool:
    return event.op != "deleted" and event.exit_code is None and not event.deleting


def _another_try(events: Events) -> Mutants:
    """Have a pod of the next try come while one runs."""
    for place, event in enumerate(events):
        if isinstance(event, PodEvent) and event.phase == "Running" and _is_live(event):
            twin = _twin(event, try_number=(event.try_number or 0) + 1)
            yield after(events, place, twin)


def _deleted_and_replaced(events: Events) -> Mutants:
    """Have a running pod told to go, and another come before it has gone."""
    for place, event in enumerate(events):
        if isinstance(event, PodEvent) and event.phase == "Running" and _is_live(event):
            going = structs.replace(event, op="modified", deleting=True)
            yield after(events, place, going, _twin(event))


def _refused(refusal: Refusal, first: bool = False) -> Make:
    """Have a worker refused: the one that came, or one more before it."""

    def mutants(events: Events) -> Mutants:
        for place, event in enumerate(events):
            if isinstance(event, WorkerEvent) and event.ti is not None and event.refused is None:
                sent_away = structs.replace(event, exit_code=1, refused=refusal)
                if first:
                    twin = structs.replace(
                        sent_away, pod=f"{event.pod}-b", uid=f"{event.uid}-b", t=event.t
                    )
                    yield [*events[:place], twin, *events[place:]]
                else:
                    yield instead(events, place, sent_away)

    return mutants


def _codes(events: Events, op: str) -> Iterator[tuple[int, LedgerEvent]]:
    for place, event in enumerate(events):
        if isinstance(event, LedgerEvent) and event.op == op:
            yield place, event


def _code(op: str, more: Callable[[LedgerEvent], list[LedgerEvent]]) -> Make:
    """Have user code say more, right after it said that it began, or completed."""

    def mutants(events: Events) -> Mutants:
        for place, event in _codes(events, op):
            yield after(events, place, *more(event))

    return mutants


def _elsewhere(event: LedgerEvent, op: str, **changes: object) -> LedgerEvent:
    return structs.replace(event, **{"op": op, "pod": f"{event.pod}-b", "pid": 1, **changes})


def _done_again_later(events: Events) -> Mutants:
    """Have user code completed once more when the run of its task instance is over."""
    ends = {
        (e.dag_id, e.run_id): place
        for place, e in enumerate(events)
        if isinstance(e, DagRunEvent) and e.new in (SUCCESS, FAILED)
    }
    for _, event in _codes(events, "end"):
        place = ends.get((event.ti.dag_id, event.ti.run_id))
        if place is not None:
            yield after(events, place, _elsewhere(event, "start"), _elsewhere(event, "end"))


def _after_completion(*states: str | None, by: str = OTHER, again: bool = False) -> Make:
    """Have a task instance whose code completed not succeed, but come to these states."""

    def mutants(events: Events) -> Mutants:
        for place, event in _codes(events, "end"):
            stored = next(
                (
                    at
                    for at, e, _ in moves(events, RUNNING, SUCCESS)
                    if _stores(e, at, event, place)
                ),
                None,
            )
            if stored is None:
                continue
            first = events[stored]
            assert isinstance(first, TaskInstanceEvent)
            changes = [changed(first, by, state=states[0])]
            for state in states[1:]:
                changes.append(step(changes[-1], by, state=state))
            more = [structs.replace(_elsewhere(event, op), t=first.t + LATER) for op in _TWICE]
            yield instead(events, stored, *changes, *(more if again else ()))

    return mutants


_TWICE = ("start", "end")


def _stores(row: TaskInstanceEvent, at: int, code: LedgerEvent, place: int) -> bool:
    return at > place and row.ti == code.ti


def _acknowledged(events: Events) -> Iterator[tuple[int, int, TaskInstanceEvent]]:
    """Give where a success was acknowledged, and where it is stored."""
    stored = {e.ti: (at, e) for at, e, _ in moves(events, RUNNING, SUCCESS)}
    for place, event in enumerate(events):
        if isinstance(event, AnswerEvent) and event.ti in stored and event.acknowledged:
            at, row = stored[event.ti]
            if event.request == "state" and event.state == SUCCESS:
                yield place, at, row


def _stored_otherwise(state: str | None, by: str = "") -> Make:
    def mutants(events: Events) -> Mutants:
        for _, at, row in _acknowledged(events):
            yield instead(events, at, changed(row, by, state=state))

    return mutants


def _stored_later(state: str, by: str) -> Make:
    """Have what was acknowledged stored behind the answer, as something else."""

    def mutants(events: Events) -> Mutants:
        for place, at, row in _acknowledged(events):
            late = structs.replace(changed(row, by, state=state), t=events[place].t + LATER)
            rest = [e for n, e in enumerate(events) if n != at]
            yield after(rest, place - (at < place), late)

    return mutants


def _never_stored(events: Events) -> Mutants:
    for _, at, _row in _acknowledged(events):
        yield instead(events, at)


def _answered(status: int, *requests: str, given: bool = True, first: bool = False) -> Make:
    """Have requests answered with a server error: the one that came, or one more before it."""

    def mutants(events: Events) -> Mutants:
        for place, event in enumerate(events):
            if isinstance(event, AnswerEvent) and event.request in requests:
                failed = structs.replace(event, status=status, given=given, by="api-server")
                yield instead(events, place, failed, *([event] if first else []))

    return mutants


def _left_alone(requests: int, every: float, request: str, *disturbed: Event) -> Make:
    """Have a worker that has started get no answer any more, to so many requests of a kind.

    `disturbed` is what begins when it has started, and is no excuse.
    """

    def mutants(events: Events) -> Mutants:
        for event in events:
            if not isinstance(event, AnswerEvent) or event.request != "run":
                continue
            if not event.acknowledged:
                continue
            told = [each for each in events if not _answers_later(each, event)]
            at = [event.t + n * every for n in range(1, requests + 1)]
            asked = [structs.replace(event, t=t, request=request, status=None) for t in at]
            yield among(told, *(structs.replace(each, t=event.t) for each in disturbed), *asked)

    return mutants


def _answers_later(event: Event, started: AnswerEvent) -> bool:
    return isinstance(event, AnswerEvent) and event.ti == started.ti and event.t > started.t


def _ends(code: int, *roles: str) -> Make:
    """Have a process of these roles end by itself, at many a moment."""

    def mutants(events: Events) -> Mutants:
        names = [e.process for e in events if isinstance(e, ProcessEvent) and e.op == "watched"]
        wanted = [name for name in names if name.startswith(roles)]
        for place in range(len(names), len(events) - 1, 5):
            for name in wanted:
                end = ProcessEvent(events[place].t, "ended", name, code, "mutant")
                back = ProcessEvent(events[place].t, "started", name)
                yield after(events, place, end, back)

    return mutants


def _stopped(role: str, took: float, code: int = 0, told_last: bool = False) -> Make:
    """Have a process of a role told to end, at many a moment, and end so many seconds later."""

    def mutants(events: Events) -> Mutants:
        names = [e.process for e in events if isinstance(e, ProcessEvent) and e.op == "watched"]
        for place in range(len(names), len(events) - 1, 5):
            t = events[place].t
            for name in (name for name in names if role in name):
                begin = FaultEvent(t, "begin", STOP, name, "mutant")
                end = ProcessEvent(t + took, "ended", name, code, "mutant")
                healed = FaultEvent(t + took, "end", STOP, name)
                if told_last:
                    yield among(events, begin, healed, end)
                else:
                    yield among(events, begin, end, healed)

    return mutants


_RUNNING = Refusal(409, "invalid_state", RUNNING)

WAYS = (
    Way("single-live-pod", "a second one while one is on its way", _second_pod("Pending")),
    Way("single-live-pod", "a second one while one runs", _second_pod("Running")),
    Way("single-live-pod", "a second one that runs at once", _second_pod(
        "Running", "Running")),
    Way("single-live-pod", "one of the next try while one runs", _another_try),
    Way("single-live-pod", "a second one while one is being deleted", _deleted_and_replaced),
    Way("valid-start", "409, found RUNNING", _refused(_RUNNING)),
    Way("valid-start", "409, found SUCCESS", _refused(Refusal(409, "invalid_state", SUCCESS))),
    Way("valid-start", "404", _refused(Refusal(404, "not_found"))),
    Way("valid-start", "one more worker, 409", _refused(_RUNNING, first=True)),
    Way("valid-start", "one more worker, 404", _refused(Refusal(404, "not_found"), first=True)),
    Way("executed-once", "begins in two pods", _code("start", lambda e: [_elsewhere(e, "start")])),
    Way("executed-once", "begins twice in a pod", _code(
        "start", lambda e: [_elsewhere(e, "start", pod=e.pod, pid=e.pid + 1)])),
    Way("executed-once", "completes twice", _code("end", lambda e: [_elsewhere(e, "end")])),
    Way("executed-once", "is done twice, one after the other", _code(
        "end", lambda e: [_elsewhere(e, "start"), _elsewhere(e, "end")])),
    Way("executed-once", "is done again in the next try", _code(
        "end", lambda e: [
            _elsewhere(e, op, try_number=e.try_number + 1) for op in _TWICE])),
    Way("executed-once", "is done again when its run is over", _done_again_later),
    Way("completed-work-stands", "FAILED by a scheduler", _after_completion(FAILED)),
    Way("completed-work-stands", "FAILED by the API server", _after_completion(FAILED, by=API)),
    Way("completed-work-stands", "UP_FOR_RETRY by a scheduler", _after_completion(UP_FOR_RETRY)),
    Way("completed-work-stands", "UP_FOR_RETRY by the API server", _after_completion(
        UP_FOR_RETRY, by=API)),
    Way("completed-work-stands", "reset, and done again", _after_completion(None, again=True)),
    Way("success-stands", "FAILED by the API server", _stored_otherwise(FAILED)),
    Way("success-stands", "UP_FOR_RETRY by the API server", _stored_otherwise(UP_FOR_RETRY)),
    Way("success-stands", "SKIPPED by a scheduler", _stored_otherwise(SKIPPED, OTHER)),
    Way("success-stands", "reset by a scheduler", _stored_otherwise(None, OTHER)),
    Way("success-stands", "FAILED by a scheduler, later", _stored_later(FAILED, OTHER)),
    Way("success-stands", "UP_FOR_RETRY by the API server, later", _stored_later(
        UP_FOR_RETRY, API)),
    Way("success-stands", "never stored", _never_stored),
    Way("no-server-error", "500 to who starts", _answered(500, "run")),
    Way("no-server-error", "500 to who ends", _answered(500, "state")),
    Way("no-server-error", "503, and then the same answer", _answered(
        503, "run", "state", first=True)),
    Way("no-server-error", "504 that is lost", _answered(504, "run", "state", given=False)),
    Way("no-server-error", "502 to other requests", _answered(502, "heartbeat", "xcoms", "skip")),
    Way("workers-answered", "heartbeats, every 6 s", _left_alone(12, 6.0, "heartbeat")),
    Way("workers-answered", "five heartbeats", _left_alone(5, 15.1, "heartbeat")),
    Way("workers-answered", "reports of its end", _left_alone(8, 9.0, "state")),
    Way("workers-answered", "while a scheduler is dead", _left_alone(
        8, 9.0, "heartbeat", FaultEvent(0.0, "begin", "scheduler-kill", "scheduler-1"))),
    Way("workers-answered", "while Kubernetes is slow", _left_alone(
        8, 9.0, "heartbeat", HoldEvent(0.0, "hold", "patch of pods", "scheduler-2"))),
    Way("no-crash", "a scheduler, exit code 1", _ends(1, "scheduler")),
    Way("no-crash", "a scheduler, exit code 0", _ends(0, "scheduler")),
    Way("no-crash", "a scheduler, SIGSEGV", _ends(-11, "scheduler")),
    Way("no-crash", "the API server, exit code 1", _ends(1, "api-server")),
    Way("no-crash", "DAG processor and triggerer, SIGABRT", _ends(
        134, "dag-processor", "triggerer")),
    Way("stops-in-time", "a scheduler, 19 s", _stopped("scheduler", 19.3)),
    Way("stops-in-time", "a scheduler, killed after a minute", _stopped("scheduler", 60.1, -9)),
    Way("stops-in-time", "a scheduler, told when all is over", _stopped(
        "scheduler", 10.1, told_last=True)),
    Way("stops-in-time", "the API server, 31 s", _stopped("api-server", 31.0)),
    Way("stops-in-time", "the DAG processor, 61 s", _stopped("dag-processor", 61.0, -9)),
    Way("stops-in-time", "a triggerer, 61 s", _stopped("triggerer", 61.0)),
)  # fmt: skip
