"""Allure's own quality gate as one more check: another reader of the same runs."""

from dataclasses import replace

from reports.allure.quality_gate import Answer, evaluate
from reports.gate.decision import Decision, Row, Status
from reports.store import Shelf


def with_allure(decision: Decision, shelf: Shelf) -> Decision:
    """Return the decision with Allure's answer as its last row.

    It is asked about the runs of the builds that are gated; without Node.js it cannot tell.
    """
    labels = {row.airflow for row in decision.checks if row.airflow} - decision.known_bad
    runs = tuple(run for run in shelf.runs if any(test.airflow in labels for test in run.tests))
    answer = evaluate(Shelf(runs), decision.policy.allure.tests)
    return replace(decision, checks=(*decision.checks, _row(answer, decision)))


def _row(answer: tuple[Answer, str] | None, decision: Decision) -> Row:
    status: Status = "unknown"
    detail = "there is no Node.js with Allure: run `make report` once, or leave --allure out"
    if answer is not None:
        status, detail = answer
    if status == "fail" and _all_accepted(decision):
        status, detail = (
            "accepted",
            f"{detail}; Allure knows no acceptances, and the policy has them",
        )
    return Row(check="allure", subject="Allure's quality gate", status=status, detail=detail)


def _all_accepted(decision: Decision) -> bool:
    """Tell whether there are violations, and the policy accepts every one of them by name."""
    found = {row.status for row in decision.checks if row.check == "safety"}
    return "accepted" in found and "fail" not in found
