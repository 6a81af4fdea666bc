"""Runs a permutation of a scenario: its steps in order, each one seen to have happened."""

import logging
import secrets
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, suppress
from functools import partial
from typing import Any

import allure

from chaos.base import ANY_WORKER, Injection
from chaos.holds.hold import Hold
from chaos.holds.points import Point, named
from chaos.holds.request import RequestHold, RequestPoint
from chaos.holds.worker_request import WorkerRequestHold
from chaos.process_kill import ProcessKill
from chaos.process_pause import ProcessPause
from chaos.scheduler_kill import SchedulerKill
from chaos.scheduler_pause import SchedulerPause
from common.errors import UserError
from common.redaction import first_line
from common.waiting import until
from dags.shapes import DAYS
from lab.base import Lab
from lab.database import connect
from lab.ready import PRESENT
from lab.supervised import AILING
from oracle.events import DagRunEvent, Event, TaskInstanceEvent
from oracle.invariants.queued_in_time import FREE
from run.logs import OwnReason
from run.run import AssumptionFailed, Run
from scenarios.scenario import Scenario
from scenarios.steps import Step
from scenarios.words import flow

log = logging.getLogger(__name__)

# Seconds for what a step waits for, at least: it costs something only where it never comes, and a
# busy machine takes its time.
_PATIENCE = 120.0
_ENDED = ("success", "failed")

# Slots of all pools (-1: no limit) less those taken, and the task instances that may want one.
_ROOM = f"""
SELECT (SELECT sum(CASE WHEN slots < 0 THEN 1000000 ELSE slots END) FROM slot_pool)
        - count(*) FILTER (WHERE state IN ('queued', 'running', 'deferred')),
    count(*) FILTER (WHERE state IS NULL OR state = 'scheduled')
FROM task_instance WHERE {PRESENT}
"""


class Performer:
    """Performs the steps of one permutation on a lab, and undoes on leaving what must not stay."""

    def __init__(self, scenario: Scenario, run: Run) -> None:
        self._scenario = scenario
        self._run = run
        self._patience = max(_PATIENCE, 60.0 * run.lab.pace)
        self._own = secrets.token_hex(4)
        self._run_id = f"{scenario.name}-{self._own}"
        self._run_ids: dict[str, str] = {}
        self._dags: dict[str, str] = {}
        self._holds: dict[str, Hold | RequestHold | WorkerRequestHold] = {}
        self._pauses: dict[str, Injection[Lab]] = {}
        self._kills: dict[str, Injection[Lab]] = {}
        self._faults: dict[tuple[str, str | None], Injection[Any]] = {}
        self._undo = ExitStack()
        self._threads = ThreadPoolExecutor(thread_name_prefix="aside")
        self._aside: list[tuple[Step, Future[None]]] = []
        self._last_event = 0.0

    def perform(self, permutation: str) -> None:
        """Perform all steps; AssumptionFailed when one cannot be seen to happen.

        The machinery of holds is installed first: a hold must begin faster than a task runs.
        """
        steps = self._scenario.permutations[permutation]
        holds = (step for step in steps if step.verb == "hold" and "hold" in step.powers)
        for step in holds:
            self._allow(step)
        try:
            with self._threads, self._undo:
                self._have_pods_start_late()
                self._perform(steps)
        except AILING as error:  # of what is undone; what a step raises is in its own words
            if isinstance(error.__context__, AssumptionFailed):
                raise error.__context__ from error
            raise AssumptionFailed(f"beside the steps: {first_line(error)}") from error

    def _perform(self, steps: Sequence[Step]) -> None:
        for step in steps:
            text = self._text(step)
            log.info("%s", text)
            with allure.step(text):
                self._run.note(text)
                self._do(step, partial(self._begin, step))
        for step, answered in self._aside:
            self._do(step, answered.result)

    def _have_pods_start_late(self) -> None:
        """Have worker pods take their time, where a lab can; a cluster's do so by themselves."""
        lab, seconds = self._run.lab, self._scenario.pod_start
        if seconds and not lab.missing("delay-pods"):
            self._undo.callback(lab.delay_pods, 0.0)
            lab.delay_pods(seconds)

    def _allow(self, step: Step) -> None:
        try:
            self._run.allow_rules([self._point(step)])
        except UserError as error:
            where = f"{self._scenario.name}.yaml, line {step.line}: " if step.line else ""
            raise UserError(f"{where}step {step.name}: {error.message}", error.hint) from error

    def _text(self, step: Step) -> str:
        deed = step.name.replace("-", " ")
        named = isinstance(step.target, str) and step.target in self._scenario.sessions
        return f"{deed} ({self._process(step)})" if named or step.of_worker else deed

    def _do(self, step: Step, deed: Callable[[], None]) -> None:
        try:
            deed()
            self._run.look_for_faults()
        except AILING as error:
            raise AssumptionFailed(f"step {step.name}: {first_line(error)}") from error

    def _begin(self, step: Step) -> None:
        """Perform a step; what is done aside goes on for as long as the API's client waits."""
        deed = partial(getattr(self, f"_{step.verb.replace('-', '_')}"), step)
        if step.options.get("aside"):
            self._aside.append((step, self._threads.submit(deed)))
        else:
            deed()

    def _process(self, step: Step) -> str:
        if step.of_worker:
            return ANY_WORKER
        return self._run.lab.process(self._scenario.sessions[step.target])

    def _freeze(self, step: Step) -> None:
        role = self._scenario.sessions[step.target]
        kind = SchedulerPause if role.startswith("scheduler") else ProcessPause
        fault = kind(role, idle=step.verb == "pause")
        pause = fault.on(self._run.lab, self._run.record)
        self._pauses[pause.process] = self._undo.enter_context(pause)

    _pause = _freeze

    def _resume(self, step: Step) -> None:
        self._pauses[self._process(step)].end()

    def _kill(self, step: Step) -> None:
        role = self._scenario.sessions[step.target]
        fault = (SchedulerKill if role.startswith("scheduler") else ProcessKill)(role)
        kill = fault.on(self._run.lab, self._run.record)
        self._kills[kill.process] = self._undo.enter_context(kill)

    def _start(self, step: Step) -> None:
        self._kills[self._process(step)].end()

    def _fault(self, step: Step) -> None:
        fault = step.target.on(self._run.lab, self._run.record, self._run.seed)
        self._run.faults[fault] = False
        self._faults[fault.name, step.options.get("on")] = self._undo.enter_context(fault)

    def _heal(self, step: Step) -> None:
        """End a fault, once it has struck: one that never does proves nothing."""
        fault = self._faults.get((step.target, step.options.get("on")))
        if fault is None or not fault.begun:
            raise UserError(f"The fault {step.target} is not on.", "Begin it first.")

        def struck() -> bool:
            self._run.look_for_faults()
            return self._run.faults[fault]

        if not until(struck, self._patience):
            raise UserError(f"The fault {fault.name} struck nobody in {self._patience:.0f} s.")
        fault.end()

    def _free(self, step: Step) -> None:
        """State what no history shows: that a scheduler could queue whatever is scheduled now."""
        process = self._process(step)
        with connect(self._run.lab.dsn()) as connection:
            slots, wanting = connection.execute(_ROOM).fetchone() or (0, 0)
        told = (f"{slots} slots free", f"undisturbed, > {wanting} slots")
        self._run.assume(f"{FREE}{process}", slots > wanting, *told)

    def _hold(self, step: Step) -> None:
        lab: Any = self._run.lab
        process, record = self._process(step), self._run.record
        hold: Hold | RequestHold | WorkerRequestHold
        if step.of_worker:
            hold = WorkerRequestHold(lab, **step.options, record=record)
        elif "request" in step.options:
            hold = RequestHold(lab.kube_api, process, RequestPoint(**step.options), record=record)
        else:
            hold = Hold(lab.dsn(), process, self._point(step), record=record)
        self._undo.enter_context(hold)
        self._holds[step.target] = hold

    def _point(self, step: Step) -> Point:
        options = step.options
        if table := options.get("commit"):
            return Point(table, row=options.get("row", {}), name=f"commit of {table}")
        if table := options.get("table"):
            return Point(table, options["matching"], name=f"statement on {table}")
        airflow = self._run.lab.airflow
        name = options.get("statement", "running-dag-runs")
        return named(name, options.get("with", {}), airflow.version, airflow.drivers)

    def _release(self, step: Step) -> None:
        self._holds[step.target].release()

    def _cancel(self, step: Step) -> None:
        self._holds[step.target].cancel()

    def _terminate(self, step: Step) -> None:
        self._holds[step.target].terminate()

    def _held(self, step: Step) -> None:
        newer_than = self._last_event + self._run.recorder.header.epoch
        process = self._process(step)
        try:
            held = self._holds[step.target].wait_held(newer_than, self._patience)
        except UserError as error:
            self._run.assume("hold-reached", False, "nobody was held", process)
            raise AssumptionFailed(str(error)) from error
        self._run.assume("hold-reached", True, f"{process}, {held.text}", process)

    def _pass(self, step: Step) -> None:
        """Let a session pass once: it is held again when its transaction is over."""
        now = self._run.recorder.now() + self._run.recorder.header.epoch
        self._holds[step.target].let_pass(now, self._patience)

    def _trigger(self, step: Step) -> None:
        name = step.options.get("as", "")
        run_id = self._run_ids[name] = f"{self._run_id}-{name}".rstrip("-")
        self._dags[name] = step.target
        with OwnReason(self._run.lab, self._run.secrets).added():
            self._run.lab.api.trigger(step.target, run_id, {"sleep": self._scenario.sleep})

    def _update(self, step: Step) -> None:
        partition = step.options.get("partition")
        key = partition and f"{partition}-{self._own}"
        with OwnReason(self._run.lab, self._run.secrets).added():
            self._run.lab.api.update_asset(step.target, key)

    def _pause_dag(self, step: Step) -> None:
        lab = self._run.lab
        self._undo.callback(lab.pausing(step.target))
        lab.api.pause_dag(step.target, paused=True)

    def _unpause_dag(self, step: Step) -> None:
        self._run.lab.api.pause_dag(step.target, paused=False)

    def _drain_dag(self, step: Step) -> None:
        lab = self._run.lab
        self._undo.callback(lab.pausing(step.target))
        lab.api.drain_dag(step.target)

    def _backfill(self, step: Step) -> None:
        api = self._run.lab.api
        self._undo.callback(api.cancel_backfills, step.target)
        api.backfill(step.target, *DAYS)

    def _clear(self, step: Step) -> None:
        self._run.lab.api.clear(*self._run_of(step), step.target)

    def _mark(self, step: Step) -> None:
        self._run.lab.api.mark(*self._run_of(step), step.target, step.options["state"])

    def _mark_run(self, step: Step) -> None:
        self._run.lab.api.mark_run(*self._run_of(step), step.target)

    def _delete_run(self, step: Step) -> None:
        self._run.lab.api.delete_run(*self._run_of(step))
        name = step.options.get("of", "")
        del self._dags[name], self._run_ids[name]

    def _resize(self, step: Step) -> None:
        api, pool = self._run.lab.api, step.target
        self._undo.callback(api.resize_pool, pool, api.slots(pool))
        api.resize_pool(pool, step.options["slots"])

    def _run_of(self, step: Step) -> tuple[str, str]:
        """Return the DAG and the run that a step is about."""
        name = step.options.get("of", "")
        if name not in self._dags:
            raise UserError(f"No run {name!r} has begun yet.", "Trigger it first.")
        return self._dags[name], self._run_ids[name]

    def _wait(self, step: Step) -> None:
        time.sleep(step.target)

    def _until(self, step: Step) -> None:
        wanted = dict(step.target)
        count = int(wanted.pop("count", 1))
        by = wanted.get("by")
        by = by and self._run.lab.process(self._scenario.sessions[by])
        since = self._last_event if wanted.get("again") else -1.0
        meant = self._meant(wanted)
        seen: set[object] = set()

        def fits(event: Event) -> bool:
            if isinstance(event, DagRunEvent):
                fitting = event.new == wanted.get("run", "") and by in (None, event.process)
                which: object = event.run_id if meant(event.dag_id, event.run_id) else None
            elif isinstance(event, TaskInstanceEvent):
                fitting = "state" in wanted and self._fits(event, wanted, by)
                which = event.ti if meant(event.ti.dag_id, event.ti.run_id) else None
            else:
                return False
            if fitting and which is not None and event.t > since:
                seen.add(which)
            return len(seen) >= count

        what = f"step {step.name} (until: {flow(step.target)})"
        self._last_event = self._run.wait(fits, self._patience, what).t

    def _meant(self, wanted: dict[str, str]) -> Callable[[str, str], bool]:
        """Return what tells, of a DAG and a run, whether an `until` is about them."""
        if dag := wanted.get("dag"):
            return lambda dag_id, _: dag_id == dag
        of = wanted.get("of", "")
        runs = self._run_ids.values() if of == "all" else [self._run_ids[of]]
        return lambda _, run_id: run_id in runs

    def _fits(self, event: TaskInstanceEvent, wanted: dict[str, str], by: str | None) -> bool:
        return (
            event.new is not None
            and not event.new.archived
            and event.new.state == wanted["state"]
            and wanted.get("task", event.ti.task_id) == event.ti.task_id
            and by in (None, event.process)
        )

    def _settle(self, step: Step) -> None:
        """Wait for the run's end, or, after a violation, for what becomes of both its pods."""
        pace = self._run.lab.pace
        at_most, after = (
            pace * float(step.target[limit]) for limit in ("at_most", "after_violation")
        )
        violated = self._run.violated
        if not until(lambda: violated.is_set() or self._ended(), at_most):
            self._run.assume("run-ended", False, f"not in {at_most:.0f} s", "success or failed")
        elif violated.is_set():
            until(lambda: self._run.aftermath.complete, after)
            if not self._ended():  # where the stored history has no violation, that is too little
                self._run.assume("run-ended", False, "not when a violation was seen", "ended")

    def _ended(self) -> bool:
        ours = set(self._run_ids.values())
        left = set(ours)

        def follow(event: Event) -> bool:
            if isinstance(event, DagRunEvent) and event.run_id in ours:
                (left.discard if event.new in _ENDED else left.add)(event.run_id)
            return False

        with suppress(TimeoutError):
            self._run.recorder.wait(follow, 0.0)
        return not left
