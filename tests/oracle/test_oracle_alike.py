"""That events are alike spares work and changes nothing: neither verdict, counts nor stories."""

import random
from collections.abc import Iterator

import pytest

from oracle import verdict
from oracle.events import (
    AssumptionEvent,
    DagRunEvent,
    End,
    Event,
    FaultEvent,
    Header,
    LedgerEvent,
    PodEvent,
    ProcessEvent,
    Refusal,
    Row,
    RowModel,
    TaskInstanceEvent,
    TaskInstanceKey,
    WorkerEvent,
)
from oracle.invariants import Invariant, Violation
from oracle.verdict import Judge

PROCESSES = ["scheduler-1", "scheduler-2", "api-server", "triggerer", "psql"]
STATES = [None, "scheduled", "queued", "running", "success", "failed", "up_for_retry", "skipped"]
STATES += [
    "restarting",
    "deferred",
    "removed",
    "up_for_reschedule",
    "upstream_failed",
    "unheard-of",
]
PHASES = ["Pending", "Running", "Running", "Succeeded", "Failed"]
MODELS: list[RowModel] = ["row-per-task", "row-per-attempt"]


class Anything:
    """Events of all kinds that contradict each other, as no Airflow would make them."""

    def __init__(self, seed: int) -> None:
        self._pick = random.Random(seed)
        self._t = 0.0

    def events(self, number: int) -> Iterator[Event]:
        """Give so many, and the end."""
        kinds = [self._change, self._change, self._change, self._pod, self._pod, self._worker]
        kinds += [self._code, self._other]
        for _ in range(number):
            self._t += self._pick.choice([0.0, 0.1, 0.7, 5.0])
            yield self._pick.choice(kinds)()
        yield End(self._t + 100.0, number)

    def _ti(self) -> TaskInstanceKey:
        return TaskInstanceKey("d", "r1", self._pick.choice(["one", "two", "three"]))

    def _row(self) -> Row | None:
        pick = self._pick.choice
        if not self._pick.randrange(8):
            return None
        job, archived = pick([None, 1, 2]), not self._pick.randrange(12)
        return Row(pick("ab"), pick(STATES), pick([0, 1, 1, 2, 3]), 4, job, archived=archived)

    def _change(self) -> Event:
        old, new, xid = self._row(), self._row(), self._pick.randrange(4)
        op = "insert" if old is None else "delete" if new is None else "update"
        new = Row("a") if old is None and new is None else new
        process = self._pick.choice(PROCESSES)
        return TaskInstanceEvent(self._t, op, self._ti(), old, new, process, xid)  # type: ignore[arg-type]

    def _pod(self) -> Event:
        pick = self._pick.choice
        pod, op = pick(["p1", "p2", "p3"]), pick(["added", "modified", "modified", "deleted"])
        code, owner, deleting = (
            pick([None, None, 0, 1, 137]),
            pick([None, "1", "2"]),
            pick([0, 0, 1]),
        )
        ti, phase = pick([self._ti(), None]), pick(PHASES)
        return PodEvent(self._t, op, pod, pod, ti, 1, phase, code, None, owner, bool(deleting))  # type: ignore[arg-type]

    def _worker(self) -> Event:
        pod, code = self._pick.choice(["p1", "p2", "p3"]), self._pick.choice([None, 0, 1, 143])
        refused = self._pick.choice([None, Refusal(409, "invalid_state", "running")])
        return WorkerEvent(
            self._t, pod, pod, self._ti(), self._pick.choice([None, 1]), code, refused
        )

    def _code(self) -> Event:
        op, pod = self._pick.choice(["start", "end", "fail"]), self._pick.choice(["p1", "p2"])
        return LedgerEvent(self._t, op, self._ti(), self._pick.choice([1, 2]), pod, 7)  # type: ignore[arg-type]

    def _other(self) -> Event:
        pick, t = self._pick.choice, self._t
        state, process = pick(["queued", "running", "success"]), pick(PROCESSES)
        others: list[Event] = [
            DagRunEvent(t, "update", "d", pick(["r1", "r2"]), "queued", state, process),
            FaultEvent(t, pick(["begin", "end"]), "scheduler-kill", process),
            ProcessEvent(t, pick(["watched", "ended"]), process, pick([None, 1])),
            AssumptionEvent(t, pick(["free-scheduler-1", "lab-healthy-after"]), True),
        ]
        return pick(others)


def judged(model: RowModel, seed: int) -> tuple[list[list[Violation]], str]:
    judge = Judge(Header(1, "r", "3", "embedded", PROCESSES[:2], 1, 0.0, attempts=model))
    found = [judge.feed(event) for event in Anything(seed).events(250)]
    return found, repr(judge.conclude())


def handle_all(invariant: Invariant, event: Event) -> object:
    return getattr(invariant, f"on_{type(event).__struct_config__.tag}", None)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("seed", range(60))
def test_what_an_invariant_does_not_heed_says_nothing_to_it(
    monkeypatch: pytest.MonkeyPatch, model: RowModel, seed: int
) -> None:
    spared = judged(model, seed)
    every = {kind: lambda _: object() for kind in (TaskInstanceEvent, PodEvent)}
    monkeypatch.setattr(verdict, "ALIKE", every)
    monkeypatch.setattr(Invariant, "handler", handle_all)
    assert judged(model, seed) == spared
    assert any(spared[0])
