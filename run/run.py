"""One test's run: the recorder and the judge at work beside a lab, and what becomes of them."""

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from chaos.base import Injection
from chaos.holds import installer as statement
from common.errors import UserError
from common.redaction import redact
from lab.base import Lab
from oracle.events import (
    LAB_HEALTHY_AFTER,
    AssumptionEvent,
    End,
    Event,
    FaultEvent,
    Header,
    HoldEvent,
    NoteEvent,
    ProcessEvent,
    TaskInstanceEvent,
)
from oracle.history import read
from oracle.states import FINISHED
from oracle.verdict import Judge, Judgement
from recorder import audit
from recorder.recorder import Recorder
from run.aftermath import Aftermath
from run.ends import Ends, ProcessOp
from run.folder import LogTails
from run.keeper import Keeper, keep
from run.secrets import known_secrets

log = logging.getLogger(__name__)

# Seconds; a worker process lives on for some after its task, or its refusal.
_PATIENCE = 6.0

# Seconds that a lab gets to be healthy again once its faults are healed.
_RECOVERY = 20.0


class AssumptionFailed(Exception):
    """What a verdict rests on did not happen; the run's verdict is unknown."""


class Run:
    """Records and judges one lab from `begin` to `end`; the fixture `history`.

    The judge listens live, so that a flood can stop at the first violation; the verdict itself
    is given by a second judge that reads the stored file, as `python -m oracle check` would.
    """

    def __init__(
        self, lab: Lab, folder: Path, test: str, seed: int, *, trims: bool = False
    ) -> None:
        self.lab = lab
        self._trims = trims
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
            audit.install(self.lab.dsn())
        except BaseException:
            self._let_go()
            raise
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
                not_covered=list(self.lab.not_covered),
            ),
            self.lab.dsn(),
            self.lab.kubernetes(),
            self.lab.namespace,
            self.lab.pod_log,
            listeners=[self._listen],
            names=self.lab.name_of,
            trims=self._trims,
            release=self.lab.release,
            shared=bool(self.lab.neighbours),
        )
        self._recorder.start()
        self._judge = Judge(self._recorder.header)
        try:
            self._ends.begin()
            problems = self.lab.problems()
        except BaseException:
            self.abandon()
            raise
        self.assume("lab-healthy-before", not problems, "; ".join(problems) or "healthy", "healthy")

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
            if event.new.state == "scheduled":
                self.scheduled.add(hash(event.ti))
            elif event.new.state in FINISHED:
                self.ended.add(hash(event.ti))
            if event.new.state in ("scheduled", "queued"):
                self.decisions[event.process] += 1
        if self._judge is None:
            return
        self.aftermath.feed(event)
        for violation in self._judge.feed(event):
            if violation.ti is not None:
                self.aftermath.broken.add(violation.ti)
            if not self.violated.is_set():
                log.info("Violation of %s: %s", violation.invariant, violation.ti)
                self.violated.set()

    def allow_rules(self) -> None:
        """Put the machinery of holds and delays into the database; `end` takes it out again.

        Not there from the start, so that a run without them is undisturbed by them.
        """
        statement.install(self.lab.dsn())

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
        self.recorder.note(AssumptionEvent(now, name, met, seen, str(wanted)))

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
        self.recorder.stop()
        self._let_go()

    def _let_go(self) -> None:
        """Let the keeper of a database that is not ours go; what is still there, it takes out."""
        if self._keeper is not None:
            self._keeper.close()

    def end(self) -> Judgement:
        """Stop recording, keep the logs, and return the judgement of the stored history."""
        for fault, fired in self.faults.items():
            value = "it struck" if fired else "it never struck"
            self.assume(f"fault-fired-{fault.name}-{fault.process}", fired, value, "it struck")
        problems = self._lasting_problems()
        self.assume(LAB_HEALTHY_AFTER, not problems, "; ".join(problems) or "healthy", "healthy")
        seen_enough = self.violated.is_set() and self.aftermath.complete
        patience = 0.0 if seen_enough else _PATIENCE * self.lab.pace
        self._ends.stop()
        path = self.recorder.stop(patience)
        header, events = read(path)
        judge = Judge(header)
        pods = set()
        for event in events:
            judge.feed(event)
            if not isinstance(event, End) and (pod := getattr(event, "pod", None)):
                pods.add(str(pod))
        self._keep_logs(pods)
        self._tidy()
        return judge.conclude()

    def _keep_logs(self, pods: set[str]) -> None:
        """Keep what the lab wrote during the run, and the Helm values that it has."""
        self._tails.keep(self.folder / "logs")
        for pod in sorted(pods):
            self._tails.keep_text(self.folder / "pods", f"{pod}.log", self.lab.pod_log(pod))
        values = self.lab.directory / "values.yaml"
        if values.exists():
            self._tails.keep_text(self.folder, values.name, values.read_text())

    def _lasting_problems(self) -> list[str]:
        """Return what the lab does not recover from soon: slowed heartbeats come late."""
        deadline = time.monotonic() + _RECOVERY * self.lab.pace
        while (problems := self.lab.problems()) and time.monotonic() < deadline:
            time.sleep(0.5)
        return problems

    def _tidy(self) -> None:
        """Take out of the database what the run put there; the next run can live with a rest."""
        try:
            if self._keeper is None or self._keeper.remove() is not None:
                statement.remove(self.lab.dsn())
                audit.remove(self.lab.dsn())
        except UserError as error:
            log.warning("Something of ours stays in the lab's database: %s", error)
        self._let_go()
