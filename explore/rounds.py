"""A round: small DAG runs under one schedule, until all of them have ended."""

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial

import psycopg
import requests
from msgspec.structs import replace

from common.errors import UserError
from common.waiting import Deadline, until
from explore.controller import GRACE, PATIENCE, Controller, Rest, Standing
from explore.coverage import Coverage, role
from explore.heartbeats import Heartbeats
from explore.moves import VERBS, Moves
from explore.plan import ALIVE
from explore.points import API_SERVER
from explore.schedule import BY_PERSON, OVERDUE, WORK, Deed
from explore.strategies import Strategy
from lab.api import AirflowAPI
from run.run import Run

LATE = ALIVE / 2
"""Seconds without a heartbeat after which nothing follows from a round."""

LONGEST = 45.0
"""Seconds that a round is explored; whoever has not ended then goes on freely. On a quiet machine
72 rounds on 3.0.6 and 3.3.2 took 2 to 14 s; with other labs beside them it is up to thrice that."""

_FREE = 20.0
_ASKED = 3.0
"""Seconds that others stand for a person's request at most: it may wait for one of them."""

_LOOK = 0.05
_NOBODY = 0.03

_STUCK = 1.5
"""Seconds that nobody stands after which a move comes before its step: all may wait for it."""

LEFT = """
SELECT (SELECT count(*) FROM dag_run WHERE state IN ('queued', 'running'))
     + (SELECT count(*) FROM asset_dag_run_queue)
"""
"""What keeps a round from being over."""

_IN_STATE = """
SELECT EXISTS (SELECT FROM task_instance
    WHERE dag_id = %s AND run_id = %s AND task_id = %s AND coalesce(state, 'none') = %s)
"""

_SLOTS = "SELECT slots FROM slot_pool WHERE pool = %s"


@dataclass
class Round:
    """What became of a round. Times are in seconds, `began` and `ended` on the history's clock.

    `silent` is how long a process had given no heartbeat at most, but for those that the schedule
    made late; `over` tells whether all runs ended by themselves while the round was explored,
    `interrupted` that a person cut it short.
    `deeds` are the plan's, `at` the steps at which they were done.
    `times` are when each of its steps began, and `parted` is the step at which a replay went
    another way. `patterns` are the table and the LIKE pattern of each statement that was passed,
    by its name. `remarks` tell which deeds were refused, or done elsewhere than the schedule says.
    `freed` tells that all went on freely after it `ended`: what broke by then does not follow.
    """

    number: int
    mark: str
    began: float
    ended: float = 0.0
    over: bool = False
    deeds: list[Deed] = field(default_factory=list)
    steps: list[str] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    patterns: dict[str, tuple[str, str]] = field(default_factory=dict)
    parted: int | None = None
    silent: float = 0.0
    interrupted: bool = False
    cpu: float = 0.0
    remarks: list[str] = field(default_factory=list)
    new: bool = False
    freed: bool = False

    @property
    def seconds(self) -> float:
        """Return how long it took."""
        return self.ended - self.began

    @property
    def unknown(self) -> str:
        """Return why nothing follows from it; nothing where something does.

        One that was interrupted was controlled until then: what it broke by then counts.
        """
        if not self.over and not self.interrupted:
            return f"it was not over in {LONGEST:.0f} s"
        if self.silent >= LATE:
            return f"a heartbeat was {self.silent:.0f} s late"
        return ""


class Performance:
    """Performs one round: its deeds at their steps, and its strategy's choices."""

    def __init__(
        self,
        run: Run,
        controller: Controller,
        strategy: Strategy,
        coverage: Coverage,
        heartbeats: Heartbeats,
    ) -> None:
        self._run = run
        self._controller = controller
        self._strategy = strategy
        self._coverage = coverage
        self._heartbeats = heartbeats
        self._moves = Moves(run, heartbeats)
        self._stood = 0.0
        self._cancel: Deed | None = None
        self._saw: dict[int, bool] = {}
        self._request: tuple[Future[None], Deadline] | None = None
        self._under_way: list[tuple[Deed, Future[None]]] = []

    def perform(self, done: Round, deeds: Sequence[Deed]) -> None:
        """Perform a round that begins now; its runs are called `MARK-RUN`.

        Where it is not performed to its end, `done` has what was until then.
        """
        now = self._run.recorder.now
        cpu = self._controller.cpu
        self._coverage.begin()
        slots = self._slots(deeds)
        done.deeds = sorted(deeds, key=lambda deed: deed.at)
        with ThreadPoolExecutor(4, thread_name_prefix="deed") as pool:
            try:
                self._explore(done, list(done.deeds), pool)
            except BaseException as error:
                done.ended, done.interrupted = now(), isinstance(error, KeyboardInterrupt)
                with suppress(psycopg.Error, UserError):
                    self._moves.end()
                    self._controller.pause()
                    self._give_back(slots)
                raise
            done.ended = now()
            self._moves.end()
            done.freed = not done.over or self._moves.starting or bool(slots)
            if done.freed:
                self._controller.pause()
        done.new = self._coverage.end()
        done.remarks += self._moves.refused + [
            f"{deed.do} was refused: {each.exception()}"
            for deed, each in self._under_way
            if each.exception() is not None
        ]
        done.silent = self._heartbeats.silent(LATE)
        done.cpu = self._controller.cpu - cpu
        if done.freed:
            try:
                until(lambda: not self._left(), _FREE)
                self._moves.restore()
            finally:
                self._give_back(slots)

    def _slots(self, deeds: Sequence[Deed]) -> dict[str, str]:
        """Return how many slots the pools have that are to be resized."""
        return {
            deed.target: str(self._controller.ask(_SLOTS, deed.target))
            for deed in deeds
            if deed.do == "resize"
        }

    def _give_back(self, slots: Mapping[str, str]) -> None:
        """Give pools as many slots as they had; nothing may be held meanwhile."""
        for pool, before in slots.items():
            carry_out(self._run.lab.api.base_url, Deed("resize", pool, state=before), "")

    def _explore(self, done: Round, deeds: list[Deed], pool: ThreadPoolExecutor) -> None:
        deadline = Deadline(LONGEST)
        rest = self._controller.step()
        looked = 0.0
        while not deadline.passed:
            self._begin(done, deeds, rest.standing, pool)
            standing = self._free(rest.standing)
            chosen = self._choose(done, standing)
            if chosen is None:
                if not deeds and time.monotonic() > looked + _LOOK:
                    looked = time.monotonic()
                    if self._over():
                        done.over = True
                        return
                elif not standing and deeds and self._may_come_sooner(deeds[0]):
                    deeds[0] = _sooner(deeds[0])
                rest = self._controller.step(None, _NOBODY)
                continue
            rest = self._pass(done, chosen)
            if not deeds and time.monotonic() > looked + _LOOK:
                looked = time.monotonic()
                if self._over():
                    done.over = True
                    return

    def _free(self, standing: Sequence[Standing]) -> Sequence[Standing]:
        """Return who can go on, of those that stand."""
        frozen = self._moves.frozen
        free = [each for each in standing if each.process not in frozen] if frozen else standing
        if self._asked():
            free = [each for each in free if each.process == API_SERVER]
        if free:
            self._stood = time.monotonic()
        return free

    def _asked(self) -> bool:
        """Return whether a request of a person's is under way that nobody is to come between."""
        if self._request is not None and (self._request[0].done() or self._request[1].passed):
            self._request = None
        return self._request is not None

    def _may_come_sooner(self, deed: Deed) -> bool:
        """Return whether a deed need not wait for its step, where nobody stands."""
        return deed.do in WORK or time.monotonic() > self._stood + _STUCK

    def _choose(self, done: Round, standing: Sequence[Standing]) -> Standing | None:
        """Return who is let past: who is to fail at its point, else whom the strategy chooses."""
        if self._cancel is not None and self._cancel.before:
            return self._there(self._cancel, done, standing)
        return self._strategy.choose(standing) if standing else None

    def _pass(self, done: Round, chosen: Standing) -> Rest:
        if self._cancel is not None and self._controller.cancel(chosen):
            how = "pg_cancel_backend" if chosen.ticket > 0 else "answered by 500"
            self._run.record("cancel", chosen.point, chosen.process, how)
        self._cancel = None
        if chosen.statement.text and chosen.point not in done.patterns:
            tables = sorted(chosen.statement.footprint.tables)
            done.patterns[chosen.point] = (",".join(tables), chosen.statement.pattern)
        done.times.append(self._run.recorder.now())
        rest = self._controller.step(chosen, PATIENCE, GRACE)
        self._coverage.passed(chosen)
        self._strategy.rested(chosen, rest)
        done.steps.append(f"{chosen.process} {chosen.point} {rest.reason}")
        return rest

    def _begin(
        self,
        done: Round,
        deeds: list[Deed],
        standing: Sequence[Standing],
        pool: ThreadPoolExecutor,
    ) -> None:
        """Begin the deeds whose step it is, or whose point."""
        step = self._strategy.step(len(done.steps))
        while deeds:
            there = self._there(deeds[0], done, standing)
            late = deeds[0].at + (OVERDUE if deeds[0].before else 0) <= step
            if there is None and not late:
                return
            number, deed = len(done.deeds) - len(deeds), deeds.pop(0)
            done.deeds[number] = replace(done.deeds[number], at=step)
            if deed.before and there is None:
                done.remarks.append(f"{deed.do} was made elsewhere: {deed.before} did not come")
            if deed.do == "cancel":
                self._cancel = deed if there else replace(deed, before="")
            elif deed.do in VERBS:
                whose = replace(deed, target=self._strategy.plays(deed.target))
                self._moves.make(whose, partial(self._later, deed, pool))
            else:
                work = partial(carry_out, self._run.lab.api.base_url, deed, done.mark)
                self._later(deed, pool, work)

    def _there(self, deed: Deed, done: Round, standing: Sequence[Standing]) -> Standing | None:
        """Return who stands at the point that a deed is before, once it may be done there."""
        if not deed.before:
            return None
        process, point, when = deed.before.split()
        if not when.isdecimal():
            return self._in_state(deed, done, standing)
        process = self._strategy.plays(process)
        who = (each for each in standing if (each.process, each.point) == (process, point))
        if found := next(who, None):
            passed = sum(step.startswith(f"{process} {point} ") for step in done.steps)
            return found if passed + 1 >= int(when) else None
        return None

    def _in_state(self, deed: Deed, done: Round, standing: Sequence[Standing]) -> Standing | None:
        """Return who came to a deed's point while its task was in a state; it has the part then."""
        process, point, when = deed.before.split()
        task = (deed.target, f"{done.mark}-{deed.run}", deed.task, when)
        for each in standing:
            if each.point != point or role(each.process) != role(process):
                continue
            if each.ticket not in self._saw:  # what it has read, it read when it came
                self._saw[each.ticket] = bool(self._controller.ask(_IN_STATE, *task))
            if self._saw[each.ticket]:
                self._strategy.cast(process, each.process)
                return each
        return None

    def _later(self, deed: Deed, pool: ThreadPoolExecutor, work: Callable[[], None]) -> None:
        """Do what takes its time beside the round, which is over when it is done.

        In a shrunken schedule a request of a person's is carried out whole, before others go on.
        """
        self._under_way.append((deed, pool.submit(work)))
        if deed.before and deed.do in BY_PERSON:
            self._request = self._under_way[-1][1], Deadline(_ASKED)

    def _over(self) -> bool:
        return all(each.done() for _, each in self._under_way) and not self._left()

    def _left(self) -> int:
        return int(self._controller.ask(LEFT))


def _sooner(deed: Deed) -> Deed:
    return replace(deed, at=0, before="")


def carry_out(url: str, deed: Deed, mark: str) -> None:
    """Do one deed, as a person does; each has a connection of its own to the API server."""
    api, run_id = AirflowAPI(url), f"{mark}-{deed.run}"
    try:
        if deed.do == "trigger":
            api.trigger(deed.target, run_id)
        elif deed.do == "update":
            api.update_asset(deed.target)
        elif deed.do == "clear":
            api.clear(deed.target, run_id, deed.task)
        elif deed.do == "mark":
            api.mark(deed.target, run_id, deed.task, deed.state)
        elif deed.do == "mark-run":
            api.mark_run(deed.target, run_id, deed.state)
        elif deed.do == "resize":
            api.resize_pool(deed.target, int(deed.state))
    except requests.RequestException as error:
        raise UserError(f"The API server did not answer: {error}") from error
