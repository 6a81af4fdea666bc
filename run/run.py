"""One test's run: the recorder and the judge at work beside a lab, and what becomes of them."""

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Protocol

from chaos.base import Injection
from chaos.holds import installer as holds
from chaos.holds.points import RUNNING_DAG_RUNS, Point
from common.documents import redact_document
from common.errors import UserError
from common.redaction import first_line, redact, remember
from common.waiting import Deadline
from lab.base import Lab
from lab.supervised import AILING
from oracle.events import (
    LAB_HEALTHY_AFTER,
    AssumptionEvent,
    Event,
    FaultEvent,
    Header,
    HoldEvent,
    NoteEvent,
    PodEvent,
    ProcessEvent,
    TaskInstanceEvent,
    TaskInstanceKey,
    WorkerEvent,
)
from oracle.history import read
from oracle.invariants import Violation
from oracle.states import FINISHED
from oracle.verdict import Judge, Judgement
from recorder import audit
from recorder.recorder import Recorder
from run.ends import Ends, ProcessOp
from run.keeper import Keeper, keep
from run.logs import LogTails, known_secrets
from run.workers import MOST_LOGS, Workers

log = logging.getLogger(__name__)

# Seconds; a worker process lives on for some after its task, or its refusal.
_PATIENCE = 6.0

# Seconds that a lab gets to be healthy again once its faults are healed.
_RECOVERY = 60.0


class AssumptionFailed(Exception):
    """What a verdict rests on did not happen; the run's verdict is unknown."""


_REHEARSED: set[Path] = set()


def rehearse(lab: Lab) -> None:
    """Find out, at a lab's first lease, whether it can be recorded, so that no flood is in vain.

    Raises AuditError, naming the columns, where the release's tables are of no known model.
    """
    if lab.directory not in _REHEARSED:
        audit.rehearse(lab.dsn())
        _REHEARSED.add(lab.directory)


class Reader(Protocol):
    """Goes along while the stored history is read and judged."""

    def feed(self, event: Event, violations: Sequence[Violation] = ()) -> None:
        """Take the next event, and the violations that the judge found at it."""


class Aftermath:
    """What follows a violation: a run goes on until the evidence is in, and no longer.

    Watches the pods of the task instances that broke a promise.
    """

    def __init__(self) -> None:
        self.broken: set[TaskInstanceKey] = set()
        self._live: dict[str, TaskInstanceKey | None] = {}
        self._refused = False

    def feed(self, event: Event) -> None:
        """Take the next event."""
        if isinstance(event, PodEvent):
            if event.over:
                self._live.pop(event.uid, None)
            else:
                self._live[event.uid] = event.ti
        elif isinstance(event, WorkerEvent) and event.refused is not None:
            self._refused = True

    @property
    def complete(self) -> bool:
        """Whether a worker was refused, and no pod of a broken task instance is alive."""
        return self._refused and not self.broken.intersection(list(self._live.values()))


class Run:
    """Records and judges one lab from `begin` to `end`; the fixture `history`.

    The judge listens live, so that a flood can stop at the first violation; the verdict itself
    is given by a second judge that reads the stored file, as `python -m oracle check` would.
    `asked` are the promises of which the test sets out to break one (`Header`).
    """

    def __init__(
        self,
        lab: Lab,
        folder: Path,
        test: str,
        seed: int,
        *,
        trims: bool = False,
        asked: Sequence[str] = (),
    ) -> None:
        self.lab = lab
        self._trims = trims
        self._asked = asked
        self.folder = folder
        self.test = test
        self.seed = seed
        self.violated = threading.Event()
        self.scheduled: set[int] = set()
        self.ended: set[int] = set()
        self.decisions: Counter[str] = Counter()
        self.aftermath = Aftermath()
        self.faults: dict[Injection[Any], bool] = {}
        self.secrets = known_secrets(lab)
        remember(self.secrets)
        self._tails = LogTails(lab.logs(), self.secrets)
        self._keeper: Keeper | None = None
        self._recorder: Recorder | None = None
        self._judge: Judge | None = None
        self._ends = Ends(lab, self._note_process)

    def begin(self) -> None:
        """Install the audit, start the recorder, and state whether the lab is healthy."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self._keeper = keep(self.lab)
        try:
            self._record()
        except BaseException:
            self.abandon()
            raise

    def _record(self) -> None:
        audit.install(self.lab.dsn(), survives=self._keeper is None)
        self._recorder = Recorder(
            self.folder / "history.ndjson",
            Header(
                schema=1,
                run=self.test,
                airflow=self.lab.airflow.label,
                lab=self.lab.kind,
                schedulers=list(self.lab.schedulers),
                seed=self.seed,
                epoch=0.0,
                answers=self.lab.answers is not None,
                not_covered=list(self.lab.not_covered),
                asked=list(self._asked),
            ),
            self.lab.dsn,
            self.lab.kubernetes(),
            self.lab.namespace,
            self.lab.pod_log,
            listeners=[self._listen],
            names=self.lab.name_of,
            trims=self._trims,
            release=self.lab.release,
            shared=bool(self.lab.neighbours),
            answers=self.lab.answers,
        )
        self._recorder.start()
        self._judge = Judge(self._recorder.header)
        self._ends.begin()
        self._assume_health("lab-healthy-before", self.lab.problems())

    @property
    def recorder(self) -> Recorder:
        """Return the recorder of a run that has begun."""
        if self._recorder is None:
            raise UserError("The run has not begun.")
        return self._recorder

    def so_far(self) -> dict[str, int]:
        """Return how much was seen and found until now."""
        return self._judge.so_far() if self._judge else {}

    def _listen(self, event: Event) -> None:
        if isinstance(event, TaskInstanceEvent) and event.new and not event.new.archived:
            self._count(event.ti, event.new.state, event.process)
        if self._judge is None:
            return
        self.aftermath.feed(event)
        for violation in self._judge.feed(event):
            if violation.ti is not None:
                self.aftermath.broken.add(violation.ti)
            if not self.violated.is_set():
                log.info(
                    "Violation of %s: %s", violation.invariant, violation.ti or violation.message
                )
                self.violated.set()

    def _count(self, ti: TaskInstanceKey, state: str | None, process: str) -> None:
        """Count what floods ask for; an observation has none, and may go on for days."""
        if not self._trims:
            if state == "scheduled":
                self.scheduled.add(hash(ti))
            elif state in FINISHED:
                self.ended.add(hash(ti))
        if state in ("scheduled", "queued"):
            self.decisions[process] += 1

    def allow_rules(self, points: Iterable[Point] = (RUNNING_DAG_RUNS,)) -> None:
        """Put the machinery of holds and delays into the database; `end` takes it out again.

        Not there from the start, so that a run without them is undisturbed by them; and only on
        the tables of `points`. Raises UserError for a table or a column that there is not.
        """
        for point in points:
            commits, row = point.row is not None, point.row or ()
            holds.install(self.lab.dsn(), point.table, commits=commits, row=row)

    def record(self, op: str, name: str, process: str | None, detail: str) -> None:
        """Write down what a fault or a hold did; passed to faults and holds as `record`."""
        t = self.recorder.now()
        detail = redact(detail, self.secrets)
        if op in ("begin", "end"):
            self.recorder.note(FaultEvent(t, op, name, process, detail))  # type: ignore[arg-type]
        else:
            self.recorder.note(HoldEvent(t, op, name, process or "", detail))  # type: ignore[arg-type]

    def _note_process(
        self, op: ProcessOp, process: str, at: float, exit_code: int | None, detail: str
    ) -> None:
        """Write down that a daemon was there, ended or is back; `at` in unix seconds."""
        t = max(0.0, at - self.recorder.header.epoch)
        detail = redact(detail, self.secrets)
        self.recorder.note(ProcessEvent(t, op, process, exit_code, detail))

    def note(self, text: str) -> None:
        """Write down a remark for whoever reads the history."""
        self.recorder.note(NoteEvent(self.recorder.now(), redact(text, self.secrets)))

    def assume(self, name: str, met: bool, value: object, wanted: object) -> None:
        """State whether something that the verdict rests on happened."""
        now = self.recorder.now()
        seen = redact(str(value), self.secrets)
        self.recorder.note(AssumptionEvent(now, name, met, seen, redact(str(wanted))))

    def wait(self, predicate: Callable[[Event], bool], timeout: float, what: str) -> Event:
        """Return the first event that fits, AssumptionFailed after `timeout` seconds."""
        try:
            return self.recorder.wait(predicate, timeout)
        except TimeoutError as error:
            raise AssumptionFailed(f"{what} did not happen in {timeout:.0f} s") from error

    def look_for_faults(self) -> None:
        """See which faults strike now; `end` states for each whether it ever did."""
        for fault, fired in self.faults.items():
            if fault.begun and not fired:
                self.faults[fault] = fault.fired()

    def abandon(self) -> None:
        """Stop looking on at a test that is skipped after all, or stopped; a run's end is one."""
        self._ends.stop()
        try:
            if self._recorder is not None:
                self._recorder.stop()
        finally:
            self._let_go()

    def _let_go(self) -> None:
        """Let the keeper of a database that is not ours go; what is still there, it takes out."""
        if self._keeper is not None:
            self._keeper.close()

    def end(self, readers: list[Reader] | None = None) -> Judgement:
        """Stop recording, keep the logs, and return the judgement of the stored history.

        The history is read once. Each of `readers` goes along; one that fails is taken out of the
        list, for no verdict may be lost by it.
        """
        for fault, fired in self.faults.items():
            value = "it struck" if fired else "it never struck"
            self.assume(f"fault-fired-{fault.name}-{fault.process}", fired, value, "it struck")
        self._assume_health(LAB_HEALTHY_AFTER, self._lasting_problems())
        seen_enough = self.violated.is_set() and self.aftermath.complete
        patience = 0.0 if seen_enough else _PATIENCE * self.lab.pace
        self._ends.stop()
        history = self.recorder.stop(patience)
        self._tidy()
        workers = Workers(MOST_LOGS if self._trims else None)
        judgement = _judge(history, workers, [] if readers is None else readers)
        try:
            self._keep_logs(workers.names())
        except AILING as error:  # as on a full disk; the verdict comes first
            log.warning("Not all logs are kept: %s", first_line(error))
        return judgement

    def _keep_logs(self, pods: Iterable[str]) -> None:
        """Keep what the lab wrote during the run, and the Helm values that it has."""
        self._tails.keep(self.folder / "logs")
        for pod in pods:
            try:
                text = self.lab.pod_log(pod)
            except AILING as error:  # what was judged is not lost for a log
                log.warning("The log of the pod %s is not kept: %s", pod, first_line(error))
                continue
            self._tails.keep_text(self.folder / "pods", f"{pod}.log", text)
        values = self.lab.directory / "values.yaml"
        if values.exists():
            self._tails.keep_text(self.folder, values.name, redact_document(values.read_text()))

    def _assume_health(self, name: str, problems: Sequence[str]) -> None:
        self.assume(name, not problems, "; ".join(problems) or "healthy", "healthy")

    def _lasting_problems(self) -> list[str]:
        """Return what the lab does not recover from soon: slowed heartbeats come late."""
        deadline = Deadline(_RECOVERY * self.lab.pace)
        while (problems := self._problems()) and not deadline.passed:
            time.sleep(0.5)
        return problems

    def _problems(self) -> list[str]:
        """Return what is wrong with the lab; that it cannot tell is a problem, too."""
        try:
            return self.lab.problems()
        except AILING as error:
            return [f"the lab cannot tell how it is: {first_line(error)}"]

    def _tidy(self) -> None:
        """Take out of the database what the run put there; the next run can live with a rest."""
        try:
            if self._keeper is None or self._keeper.remove() is not None:
                holds.remove(self.lab.dsn())
                audit.remove(self.lab.dsn())
        except AILING as error:
            log.warning("Something of ours stays in the lab's database: %s", first_line(error))
        self._let_go()


def _judge(history: Path, workers: Workers, readers: list[Reader]) -> Judgement:
    """Judge a stored history, as `python -m oracle check` would."""
    header, events = read(history)
    judge = Judge(header)
    for event in events:
        violations = judge.feed(event)
        workers.feed(event, violations)
        for reader in tuple(readers):
            try:
                reader.feed(event, violations)
            except Exception:
                log.exception("%s failed over the history", type(reader).__name__)
                readers.remove(reader)
    return judge.conclude()
