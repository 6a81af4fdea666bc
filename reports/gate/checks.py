"""The decision: all checks on all evidence."""

from collections.abc import Sequence
from datetime import date

from reports.gate.completeness import completeness
from reports.gate.decision import Decision
from reports.gate.evidence import gather
from reports.gate.oracle_health import oracle_health, shown_bad
from reports.gate.performance import performance
from reports.gate.policy import Policy
from reports.gate.safety import safety
from reports.store import Shelf


def decide(
    shelf: Shelf,
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
    evidence = gather(shelf, policy, airflow)
    rows = (
        *safety(evidence, policy, today),
        *completeness(evidence, policy.completeness, airflow),
        *oracle_health(evidence, policy.oracle_health),
        *performance(evidence, policy.performance, against),
    )
    return Decision(rows, policy, today, shelf.runs, known_bad=shown_bad(evidence))
