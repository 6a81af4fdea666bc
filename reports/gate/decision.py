"""What the gate found, check by check, and what follows from it."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import Literal

import msgspec

from common.redaction import redact
from reports.gate.glance import Glance
from reports.gate.policy import Policy
from reports.store import RunFolder
from reports.trials import Build

SCHEMA = 1
"""The version of gate.json."""

Status = Literal["pass", "fail", "unknown", "accepted"]
Check = Literal["safety", "completeness", "oracle health", "performance", "allure"]
Standing = Literal["safe", "accepted risks", "not safe", "cannot tell"]
"""What a version is summed up to be. `accepted risks`: it broke promises, and the policy accepts
them by name; a release may go out with them, and is not called safe for it."""

STANDINGS: tuple[Standing, ...] = ("safe", "not safe", "cannot tell")
"""What an exit code means; 0 is `accepted risks` where there are any."""

ORDER: tuple[Status, ...] = ("fail", "unknown", "accepted", "pass")
"""The statuses, the one that decides first."""


class GateRow(msgspec.Struct, frozen=True):
    """One finding: its subject, and in a line what it is and what to do next.

    `airflow` is the build that it is about, as its user named it, and `version` what that build
    calls itself; both are empty where the finding bears on every build. `risks` names the
    acceptances without which it would hold the release, `new` the broken invariants that neither a
    known race nor the policy names.
    """

    check: Check
    subject: str
    status: Status
    detail: str
    airflow: str = ""
    version: str = ""
    risks: tuple[str, ...] = ()
    new: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Keep secrets, control characters and line breaks out of every output."""
        for name in ("subject", "detail"):
            line = redact(" ".join(redact(getattr(self, name)).split()))
            clean = "".join(c if c.isprintable() else "?" for c in line)
            msgspec.structs.force_setattr(self, name, clean)


def row_of(
    check: Check,
    subject: str,
    status: Status,
    detail: str,
    build: Build | None = None,
    risks: tuple[str, ...] = (),
    new: Iterable[str] = (),
) -> GateRow:
    """Make a row about a build; without one it bears on every build."""
    label, version = (build.label, build.version) if build else ("", "")
    return GateRow(check, subject, status, detail, label, version, risks, tuple(sorted(new)))


@dataclass(frozen=True)
class Decision:
    """The gate's answer, and all that it rests on.

    `known_bad` are the builds that were run as the suite's own check and showed their race,
    `glances` say of each gated build what is new and what is known.
    """

    checks: tuple[GateRow, ...]
    policy: Policy
    today: date
    runs: tuple[RunFolder, ...] = ()
    known_bad: frozenset[str] = frozenset()
    glances: tuple[Glance, ...] = ()
    is_known_bad: bool = False

    @property
    def exit_code(self) -> Literal[0, 1, 2]:
        """Return 1 as soon as anything is proven bad, then 2 while anything is open, else 0."""
        found = {row.status for row in self.checks}
        if self.is_known_bad or "fail" in found:
            return 1
        return 2 if "unknown" in found or not found else 0

    @property
    def risks(self) -> tuple[str, ...]:
        """Return what the policy had to accept, each acceptance once, by name."""
        return tuple(sorted({risk for row in self.checks for risk in row.risks}))

    @property
    def standing(self) -> Standing:
        """Return the answer as one of four, of which each has its colour."""
        if self.exit_code == 0 and self.risks:
            return "accepted risks"
        return STANDINGS[self.exit_code]

    @property
    def word(self) -> str:
        """Return the answer in a few words."""
        if self.standing != "accepted risks":
            return self.standing
        number = len(self.risks)
        return f"safe but for {number} accepted {'risk' if number == 1 else 'risks'}"

    @property
    def deciding(self) -> tuple[GateRow, ...]:
        """Return the rows that the answer rests on; none where all is well."""
        wanted = {0: None, 1: "fail", 2: "unknown"}[self.exit_code]
        return tuple(row for row in self.checks if row.status == wanted)

    @property
    def in_order(self) -> list[GateRow]:
        """Return the rows as people want them: what decides first, and of that what is new."""
        return sorted(self.checks, key=lambda row: (ORDER.index(row.status), not row.new))

    @property
    def sentence(self) -> str:
        """Say the answer and how much of what it rests on, in a line."""
        counted = Counter(row.status for row in self.checks)
        names = {"fail": "failed", "unknown": "open", "accepted": "accepted", "pass": "passed"}
        parts = [f"{counted[status]} {names[status]}" for status in ORDER if counted[status]]
        told = ", ".join(parts) or "nothing was checked"
        news = "".join(f"; {each.short}" for each in self.glances) if len(self.glances) == 1 else ""
        return f"{self.word}: {told}{news} (exit {self.exit_code})"

    def for_version(self, version: str) -> "Decision":
        """Return the answer for one Airflow: its own rows, and those that bear on every build.

        A release that showed its race as the suite's own check is not safe, though nothing fails.
        """
        labels = {row.airflow for row in self.checks} | self.known_bad
        own = [row for row in self.checks if row.airflow and _is(row, version, labels)]
        return replace(
            self,
            checks=(*(own or [nobody_ran(version)]), *(r for r in self.checks if not r.airflow)),
            runs=tuple(run for run in self.runs if _ran(run, version)),
            glances=tuple(each for each in self.glances if each.airflow == version),
            is_known_bad=bool(self.known_bad & {version, *(row.airflow for row in own)}),
        )

    def to_json(self) -> dict[str, object]:
        """Give what gate.json holds, ready for any JSON encoder."""
        return {
            "schema": SCHEMA,
            "decision": self.word,
            "exit_code": self.exit_code,
            "accepted_risks": self.risks,
            "today": self.today.isoformat(),
            "policy": {"path": self.policy.path, "sha256": self.policy.sha256},
            "runs": [_run_json(run) for run in self.runs],
            "glances": msgspec.to_builtins(self.glances),
            "rows": msgspec.to_builtins(self.in_order),
        }


def nobody_ran(version: str) -> GateRow:
    """Tell that a version was asked for, and is not in the runs."""
    detail = f"there is no run of it. Make one: pytest suites/ --airflow {version}"
    return GateRow("completeness", f"Airflow {version}", "unknown", detail)


def _is(row: GateRow, version: str, labels: set[str]) -> bool:
    """Tell whether a row is about a build, named as its user did or, failing that, by version.

    A patched wheel calls itself what the release does: it is not that release.
    """
    return row.airflow == version if version in labels else row.version == version


def _ran(run: RunFolder, version: str) -> bool:
    return any(version in (test.airflow, test.version) for test in run.tests)


def _run_json(run: RunFolder) -> dict[str, object]:
    session = run.session
    return {
        "folder": run.path.name,
        "environment": session.environment if session else None,
        "session": session.session if session else None,
        "tests": len(run.tests),
    }


def shortened(names: Sequence[str], most: int = 3, between: str = ", ") -> str:
    """List names, and count those that there is no room for."""
    shown = between.join(names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"
