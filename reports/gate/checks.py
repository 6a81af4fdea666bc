"""The decision: all checks on all evidence."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import date

from reports.gate.allure import evaluate
from reports.gate.completeness import completeness
from reports.gate.decision import Decision, GateRow
from reports.gate.evidence import gather
from reports.gate.news import glances
from reports.gate.oracle_health import oracle_health, shown_bad
from reports.gate.performance import performance
from reports.gate.policy import Policy
from reports.gate.safety import safety
from reports.store import Runs


def decide(
    runs: Runs,
    policy: Policy,
    today: date,
    *,
    airflow: Sequence[str] = (),
    against: str = "",
) -> Decision:
    """Hold the runs against the policy, as of `today`.

    `airflow` names the builds to be gated, by label or version; none names all but those that
    were run as the suite's own check. `against` is the build whose speed is the measure.
    """
    evidence = gather(runs, policy, airflow)
    rows = (
        *safety(evidence, policy, today),
        *completeness(evidence, policy.completeness, airflow),
        *oracle_health(evidence, policy.oracle_health),
        *performance(evidence, policy.performance, against),
    )
    return Decision(
        rows,
        policy,
        today,
        runs.folders,
        known_bad=shown_bad(evidence),
        glances=glances(evidence, policy.safety.accepted, rows),
    )


def with_allure(decision: Decision, runs: Runs) -> Decision:
    """Return the decision with the answer of Allure's own quality gate as its last row.

    It is asked about the runs of the builds that are gated; without Node.js it cannot tell.
    """
    labels = {row.airflow for row in decision.checks if row.airflow} - decision.known_bad
    gated = [run for run in runs.folders if any(test.airflow in labels for test in run.tests)]
    status, detail = evaluate(Runs(tuple(gated)), decision.policy.allure.tests) or (
        "unknown",
        "there is no Node.js with Allure: run `make report` once, or leave --allure out",
    )
    broken = {row.status for row in decision.checks if row.check == "safety"}
    accepted = status == "fail" and "accepted" in broken and "fail" not in broken
    if accepted:
        detail += "; Allure knows no acceptances, and the policy has them"
    row = GateRow("allure", "Allure's quality gate", "accepted" if accepted else status, detail)
    return replace(decision, checks=(*decision.checks, row))
