"""The judge: feeds a history to the invariants and says what the history proves.

A verdict has three values. One violation makes it `invalid`, whatever else happened: a history
shows less than there was, not more. Only a history with holes, or without an end, proves nothing.
Without a violation it is `valid` only if every assumption was met and no invariant failed to do
its work; otherwise it is `unknown`, never `valid`.
"""

import logging
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Hashable, Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from itertools import chain
from typing import Any, Literal

from oracle.alike import ALIKE
from oracle.attempts import Attempts
from oracle.counts import Counts, HistoryCounts
from oracle.distinct import Distinct
from oracle.events import (
    LAB_HEALTHY_AFTER,
    WITHOUT_GAPS,
    AssumptionEvent,
    DagRunEvent,
    End,
    Event,
    Header,
    PodEvent,
    TaskInstanceEvent,
)
from oracle.invariants import INVARIANTS, Invariant, Violation
from oracle.invariants.base import Violations
from oracle.invariants.no_lost_task import NoLostTask
from oracle.memory import Memory, Story

Verdict = Literal["valid", "invalid", "unknown"]

KEPT = 100
"""Violations of an invariant that are kept whole; the others only count."""

Taker = Callable[[Any], Violations]
"""Who takes an event, and may find violations in it."""

PLANS = 10_000
"""Plans that are kept, one for events that are alike; a history has some hundred."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Judgement:
    """What a history proves, and why.

    `by_invariant` counts every violation; `violations` has the first ones of each invariant.
    `not_judged` tells which invariants had nothing to judge, and why; `reasons` why the verdict
    is unknown. `judged` says how many task instances, pods, workers or runs each invariant judged
    (its `units`), 0 where it had nothing to judge. `time_to_first_violation` is in seconds since
    the first run was created.
    """

    header: Header
    verdict: Verdict
    violations: list[Violation]
    by_invariant: dict[str, int]
    judged: dict[str, int]
    not_judged: dict[str, str]
    reasons: list[str]
    assumptions: list[AssumptionEvent]
    counts: Counts
    time_to_first_violation: float | None
    stories: list[Story]

    def to_json(self) -> dict[str, object]:
        """Give what `verdict.json` holds, ready for any JSON encoder."""
        return {
            "run": self.header.run,
            "airflow": self.header.airflow,
            "lab": self.header.lab,
            "seed": self.header.seed,
            "verdict": self.verdict,
            "reasons": self.reasons,
            "violations": self.by_invariant,
            "judged": self.judged,
            "not_judged": self.not_judged,
            "not_covered": self.header.not_covered,
            **asdict(self.counts),
            "time_to_first_violation": self.time_to_first_violation,
            "assumptions": [
                {"name": a.name, "met": a.met, "value": a.value, "wanted": a.wanted}
                for a in self.assumptions
            ],
        }


class Judge:
    """Judges a history while it is written, or from a file: feed it every event, the End too.

    `bound` is how many seconds everything may stand still before an unended run is lost. Who can
    give the latest events once more, as who reads them from a file (`Reading.latest`), says so:
    then none has to be remembered.
    """

    def __init__(
        self,
        header: Header,
        bound: float | None = None,
        latest: Callable[[], Iterable[Event]] | None = None,
    ) -> None:
        self._header = header
        self._invariants = [_make(kind, header, bound) for kind in INVARIANTS]
        self._plans: dict[Hashable, list[Taker]] = {}
        for invariant in self._invariants:
            invariant.ask_anew = self._plans.clear
        self._owners: dict[Taker, Invariant] = {}
        self._attempts = Attempts(header)
        self._counts = HistoryCounts(header)
        self._memory = Memory(None if self._attempts.rotates else latest)
        self._numbers: Counter[str] = Counter()
        self._broken: defaultdict[str, Distinct] = defaultdict(Distinct)
        self._violations: list[Violation] = []
        self._assumptions: dict[str, AssumptionEvent] = {}
        self._crashes: dict[str, str] = {}
        self._ended = False

    def feed(self, event: Event) -> list[Violation]:
        """Take the next event; return the violations that it shows.

        Where a row is an attempt, that is what the transaction before it shows (`Attempts`).
        """
        return list(self.over((event,)))

    def over(self, events: Iterable[Event]) -> Iterator[Violation]:
        """Take events as long as there are any; give the violations, each where it is shown."""
        if self._attempts.rotates:
            events = chain.from_iterable(map(self._attempts.feed, events))
        return self._take(events)

    def _take(self, events: Iterable[Event]) -> Iterator[Violation]:
        plans, alike_by = self._plans, ALIKE.get
        for event in events:
            alike = alike_by(type(event), type)(event)
            plan = plans.get(alike)
            if plan is None:
                plan = self._plan(alike, event)
            found: list[Violation] | None = None
            for take in plan:
                try:
                    if shown := take(event):
                        found = [] if found is None else found
                        found.extend(shown)
                except Exception as error:
                    if take not in self._owners:
                        raise
                    logger.exception("The invariant %s failed", self._owners[take].name)
                    self._dismiss(self._owners[take], error)
            if found:
                yield from [self._note(violation) for violation in found]

    def _plan(self, alike: Hashable, event: Event) -> list[Taker]:
        """Say who takes this event and those that are alike: who counts, remembers, judges."""
        kind = type(event)
        takers: list[Taker | None] = [self._counts.counter(event), self._memory.keeper(kind)]
        if kind is AssumptionEvent:
            takers.append(self._assume)
        elif kind is End:
            takers.append(self._end)
        for invariant in self._invariants:
            if invariant.name not in self._crashes and (handle := invariant.handler(event)):
                takers.append(handle)
                self._owners[handle] = invariant
        if len(self._plans) >= PLANS:
            self._plans.clear()
        plan = self._plans[alike] = [take for take in takers if take is not None]
        return plan

    def so_far(self) -> dict[str, int]:
        """Return how much was fed and found until now; for any thread."""
        return self._found() | {"violations": sum(list(self._numbers.values()))}

    def _found(self) -> dict[str, int]:
        kinds = {"runs": DagRunEvent, "task_instances": TaskInstanceEvent, "pods": PodEvent}
        return {name: self._counts.number(kind) for name, kind in kinds.items()}

    def conclude(self) -> Judgement:
        """Let the invariants look at the whole, and give the verdict. Call it once."""
        not_judged: dict[str, str] = {}
        for _ in self._take(self._attempts.finish()):
            pass
        for invariant in self._invariants:
            if invariant.name in self._crashes:
                continue
            if reason := self._finish(invariant):
                not_judged[invariant.name] = reason
        if ambiguous := len(self._attempts.ambiguous):
            not_judged["nested loops"] = f"{ambiguous} task instances share their names with others"
        judged = {i.name: self._judged(i, not_judged) for i in self._invariants}
        reasons = [*self._reasons(), *self._unasked(judged, not_judged)]
        first = min((v.t for v in self._violations), default=None)
        begun = self._counts.first_run_at
        return Judgement(
            header=self._header,
            verdict=self._verdict(reasons),
            violations=self._violations,
            by_invariant={i.name: self._numbers[i.name] for i in self._invariants},
            judged=judged,
            not_judged=not_judged,
            reasons=reasons,
            assumptions=list(self._assumptions.values()),
            counts=self._figures(),
            time_to_first_violation=None if first is None else first - (begun or 0.0),
            stories=list(self._memory.stories.values()),
        )

    def _finish(self, invariant: Invariant) -> str | None:
        """End an invariant's work; say why it could not judge, if so."""
        if not self._counts.saw(invariant.evidence):
            return f"no {invariant.evidence.__struct_config__.tag} event in the history"
        if invariant.needs_a_clean_history and (reason := self._unclean()):
            return reason
        try:
            for violation in invariant.finish():
                self._note(violation)
            return invariant.abstention()
        except Exception as error:
            logger.exception("The invariant %s failed", invariant.name)
            self._dismiss(invariant, error)
            return None

    def _judged(self, invariant: Invariant, not_judged: Collection[str]) -> int:
        """Say how much an invariant judged."""
        if invariant.name in not_judged or invariant.name in self._crashes:
            return 0
        known = invariant.judged()
        return self._counts.number(invariant.evidence) if known is None else known

    def _unclean(self) -> str | None:
        """Say why a promise of progress cannot be held against Airflow here, if so."""
        if self._violations:
            return "the history has violations, and may have been cut short at the first"
        after = self._assumptions.get(LAB_HEALTHY_AFTER)
        if after is not None and not after.met:
            return f"the lab itself had problems: {after.value}"
        return None

    def _note(self, violation: Violation) -> Violation:
        name = violation.invariant
        self._numbers[name] += 1
        if violation.ti is not None:
            self._broken[name].add(violation.ti)
        if self._numbers[name] > KEPT:
            return violation
        stories = len(self._memory.stories)
        violation = replace(violation, events=self._memory.note(violation))
        if not stories and self._memory.stories:
            self._plans.clear()
        self._violations.append(violation)
        return violation

    def _end(self, _event: End) -> None:
        self._ended = True

    def _assume(self, event: AssumptionEvent) -> None:
        known = self._assumptions.get(event.name)
        if known is None or known.met:
            self._assumptions[event.name] = event

    def _dismiss(self, invariant: Invariant, error: Exception) -> None:
        self._crashes[invariant.name] = f"{type(error).__name__}: {error}"
        self._plans.clear()

    def _verdict(self, reasons: list[str]) -> Verdict:
        gaps = self._assumptions.get(WITHOUT_GAPS)
        whole = self._ended and (gaps is None or gaps.met)
        if self._violations and whole:
            return "invalid"
        return "unknown" if reasons else "valid"

    def _reasons(self) -> list[str]:
        """Say everything that keeps a history without violations from being valid."""
        reasons = [] if self._ended else ["the history has no end: it is truncated"]
        if not self._counts.saw(TaskInstanceEvent):
            reasons.append("the history has no task instance")
        elif not self._counts.number(TaskInstanceEvent):
            reasons.append("nothing was scheduled: no task instance was seen in a try")
        for one in self._assumptions.values():
            if not one.met:
                wanted = f", wanted {one.wanted}" if one.wanted else ""
                reasons.append(f"assumption not met: {one.name} was {one.value or 'not'}{wanted}")
        for name, error in self._crashes.items():
            reasons.append(f"the invariant {name} failed: {error}")
        return reasons

    def _unasked(self, judged: dict[str, int], not_judged: dict[str, str]) -> list[str]:
        """Say that the history answers nothing of what its run asks, if so."""
        asked = [name for name in self._header.asked if name not in self._crashes]
        if not asked or any(judged.get(name) for name in asked):
            return []
        why = [
            f"{name} ({not_judged.get(name, 'nothing in the history is of it')})" for name in asked
        ]
        return [f"what this run asks was not judged: {', '.join(why)}"]

    def _figures(self) -> Counts:
        broken = {name: len(of) for name, of in self._broken.items()}
        return Counts(
            **self._found(),
            refused_starts=self._counts.refused_starts,
            double_executions=broken.get("executed-once", 0),
            duplicate_pods=broken.get("single-live-pod", 0),
            duplicate_tries=broken.get("unique-try", 0),
            decisions=self._counts.decisions,
        )


def _make(kind: type[Invariant], header: Header, bound: float | None) -> Invariant:
    if kind is NoLostTask and bound is not None:
        return NoLostTask(header, bound)
    return kind(header)
