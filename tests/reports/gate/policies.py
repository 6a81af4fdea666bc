"""Policies for the constructed run sets; dates are told from today, so that they never rot."""

from tests.reports.gate.builder import SOON, YESTERDAY


def acceptance(what: str, airflow: str = ">=3.0.0", until: object = SOON) -> str:
    """Return one acceptance: `what` is its first lines."""
    return f"""\
    - {what}
      airflow: "{airflow}"
      reason: nobody has mended it yet
      owner: maintainers
      until: {until}
"""


LIMITS = (
    acceptance("scenario: critical-section"),
    acceptance('scenario: woken-scheduler\n      tests: "*::test_woken*"'),
)
KILL = "invariants: [executed-once]\n      tests: '*::test_scheduler_kill*'"

REST = """\
completeness:
  scenarios: ["57618", critical-section, woken-scheduler]
  labs: [embedded]
  task_instances: 400
oracle_health:
  known_bad:
    - scenario: "57618"
      airflow: ">=3.0.0,<3.2.0"
"""
SPEED = 'performance:\n  tests: ["*::test_flood_without_chaos*"]\n'


def policy(*more: str, limits: tuple[str, ...] = LIMITS, rest: str = REST, end: str = SPEED) -> str:
    """Return a policy like the shipped one, with further acceptances."""
    return f"safety:\n  accepted:\n{''.join((*limits, *more))}{rest}{end}"


PLAIN = policy()
KILL_ACCEPTED = policy(acceptance(KILL))
KILL_LAPSED = policy(acceptance(KILL, until=YESTERDAY))
KILL_ELSEWHERE = policy(acceptance(KILL, airflow="<3.3.0"))
