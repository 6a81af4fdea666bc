"""Says of each Airflow version whether it is safe to run with several schedulers, and why.

The answer is the gate's; what is added here is the evidence: which promises were broken, how
often, and how much the answer rests on.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial

from packaging.version import Version

from oracle.invariants import INVARIANTS
from reports.gate.decision import Decision, GateRow
from reports.grouping import grouped
from reports.records import TestRecord
from reports.statistics import Rate
from reports.store import RunFolder
from reports.trials import NO_VERSION, parsed

PROMISES = {invariant.name: invariant.promise for invariant in INVARIANTS}


@dataclass(frozen=True)
class Breach:
    """One way in which a version broke its promises, over all its runs.

    `issue` is a URL or empty; `note` says what it is where there is no URL, or why it is not held
    against the version (`held` is then False), `new` whether no known race explains it. `test` is
    the newest that shows it.
    """

    what: str
    name: str
    issue: str
    note: str
    held: bool
    new: bool
    shown: Rate
    test: TestRecord

    @property
    def times(self) -> str:
        """How often it showed itself, with the interval of what the rate may be."""
        seen, _, bounds = self.shown.text().partition(" (")
        runs = "test run that looks" if self.shown.trials == 1 else "test runs that look"
        return f"{seen} {runs} for it showed it ({bounds}"


@dataclass(frozen=True)
class Rating:
    """What the runs of one Airflow say about it.

    `decision` is the gate's, of this version alone; `judged` counts the test runs that could tell,
    `task_instances` what ran in them, `unharmed` in those without a violation. `worst` is the
    violation to show.
    """

    label: str
    version: str
    decision: Decision
    findings: tuple[Breach, ...]
    runs: int
    judged: int
    task_instances: int
    unharmed: int
    labs: tuple[str, ...]
    worst: TestRecord | None

    @property
    def title(self) -> str:
        """Its name for people: a label of one's own does not hide which version it is."""
        return self.label if self.label == self.version else f"{self.label} ({self.version})"

    @property
    def rows(self) -> list[GateRow]:
        """What the gate's answer rests on beyond the violations, which are the findings."""
        others = [row for row in self.decision.deciding if row.check != "safety"]
        return others if self.findings else list(self.decision.deciding)

    @property
    def why(self) -> str:
        """The reason for the gate's answer, in one sentence."""
        held = [finding for finding in self.findings if finding.held]
        if self.decision.exit_code == 1 and held:
            return f"{held[0].what}."
        if self.rows:
            return sentence(self.rows[0])
        if self.decision.exit_code == 0 and self.judged:
            if risks := self.decision.risks:
                return (
                    "Promises were broken, and a release may go out with it: the policy accepts "
                    f"{', '.join(risks)} by name."
                )
            return "Every promise was kept in every run that could tell."
        return "No run of it could tell."

    @property
    def rests_on(self) -> str:
        """How much was judged; and, where all of it was well, how much that proves."""
        if not self.unharmed or any(finding.held for finding in self.findings):
            return f"{self.task_instances:,} task instances"
        most = Rate(0, self.unharmed).at_most(0.95) * 1000
        where = " in the other tests" if self.findings else ""
        return (
            f"0 of {self.unharmed:,} task instances broke a promise{where}: "
            f"at most {most:.2g} in 1,000 at 95 %"
        )


def sentence(row: GateRow) -> str:
    """Make one of the gate's rows a sentence."""
    text = row.detail if row.subject in row.detail else f"{row.subject}: {row.detail}"
    first = text[:1] if text.startswith("test_") else text[:1].upper()
    return first + text[1:].rstrip(".") + "."


def rate_versions(runs: Iterable[RunFolder], decision: Decision) -> list[Rating]:
    """Rate every Airflow that ran, the newest first."""
    groups = grouped(runs, _label)
    ratings = [_rate(label, group, decision) for label, group in groups.items() if label]
    return sorted(ratings, key=_newness, reverse=True)


def _label(run: RunFolder) -> str:
    return run.session.airflow if run.session else run.tests[0].airflow if run.tests else ""


def _newness(rating: Rating) -> tuple[Version, bool, str]:
    version = parsed(rating.version) or NO_VERSION
    return version, rating.label == rating.version, rating.label


def _rate(label: str, runs: Sequence[RunFolder], decision: Decision) -> Rating:
    tests = [test for run in runs for test in run.tests]
    judged = [test for test in tests if test.verdict != "unknown"]
    accepted = partial(_accepted, decision)
    groups = grouped((test for test in judged if test.broken), _cause).values()
    findings = [_breach(group, judged, all(map(accepted, group))) for group in groups]
    return Rating(
        label=label,
        version=tests[-1].version if tests else label,
        decision=decision.for_version(label),
        findings=tuple(
            sorted(findings, key=lambda found: (not found.new, not found.held, -found.shown.hits))
        ),
        runs=len(runs),
        judged=len(judged),
        task_instances=sum(test.task_instances for test in judged),
        unharmed=sum(test.task_instances for test in judged if not test.broken),
        labs=tuple(sorted({test.lab for test in judged})),
        worst=max((test for test in judged if test.broken), key=gravity, default=None),
    )


def _accepted(decision: Decision, test: TestRecord) -> bool:
    """Tell whether the policy accepts all that a test broke, today."""
    acceptances = decision.policy.safety.accepted
    covers = [each.covers(test) for each in acceptances if not each.lapsed(decision.today)]
    return test.broken <= frozenset[str]().union(*covers)


def gravity(test: TestRecord) -> tuple[bool, bool, int]:
    """Order violations by what a person should see first: code that ran twice, then the most."""
    by_design = test.known is not None and test.known.by_design
    return not by_design, bool(test.double_executions), len(test.broken)


def _cause(test: TestRecord) -> str:
    if test.cause and not test.new:
        return test.cause.scenario
    return ",".join(sorted(test.broken)) + _function(test)


def _function(test: TestRecord) -> str:
    """Name the test whatever its parameters: the lab and the version are among them."""
    return test.test.partition("[")[0]


def _breach(group: Sequence[TestRecord], judged: Sequence[TestRecord], accepted: bool) -> Breach:
    test = group[-1]
    known = test.cause
    looked = [other for other in judged if _function(other) == _function(test)]
    if race := test.shown or (known if test.explored else None):
        looked = [o for o in judged if o.known and o.known.scenario == race.scenario]
    looked = [*looked, *(other for other in group if other not in looked)]
    return Breach(
        what=what_broke(test),
        name=known.scenario if known else ", ".join(sorted(test.broken)),
        issue=known.url if known else "",
        note=_note(test, accepted),
        held=not accepted,
        new=bool(test.new),
        shown=Rate(len(group), len(looked)),
        test=test,
    )


def what_broke(test: TestRecord) -> str:
    """Say what went wrong: the known race that it showed, or the promise that it broke."""
    if test.cause and not test.new:
        return test.cause.title
    broken = test.new or test.broken
    first = next((name for name in PROMISES if name in broken), min(broken))
    return f"A promise was broken: “{PROMISES.get(first, first)}”"


def _note(test: TestRecord, accepted: bool) -> str:
    known = test.cause
    design = "a limit of the design" if known and known.by_design else ""
    if accepted:
        return f"{design}{', ' if design else ''}accepted by name in the policy"
    if design:
        return design
    if test.new:
        met = all(assumption.met for assumption in test.assumptions)
        doubt = "" if met else ", in a run whose assumptions were not all met"
        return f"a new violation: no known issue explains it{doubt}"
    return known.issue if known and not known.url else ""
