"""Is as much at work as a DAG's author allows, and no more?"""

import pytest

from run.run import Run
from scenarios.perform import Performer
from scenarios.scenario import Scenario


@pytest.mark.scenario("active-runs")
def test_limited(scenario: Scenario, permutation: str, history: Run) -> None:
    """Two schedulers each begin a run, where one may be at work."""
    Performer(scenario, history).perform(permutation)


@pytest.mark.scenario("double-backfill")
def test_backfilled_twice(scenario: Scenario, permutation: str, history: Run) -> None:
    """Two backfills of a DAG are asked for at once, where one may be active."""
    Performer(scenario, history).perform(permutation)
