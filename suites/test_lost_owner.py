"""Do the others take over well what a scheduler had in hand that is gone, or seems to be?"""

import pytest

from run.run import Run
from scenarios.perform import Performer
from scenarios.scenario import Scenario


@pytest.mark.scenario("burnt-retry")
def test_killed_with_tasks_in_hand(scenario: Scenario, permutation: str, history: Run) -> None:
    """A scheduler is killed when it has queued tasks and has not made their pods."""
    Performer(scenario, history).perform(permutation)


@pytest.mark.scenario("half-adopted")
def test_killed_while_adopting(scenario: Scenario, permutation: str, history: Run) -> None:
    """A scheduler takes over running tasks, and is killed between two of their pods."""
    Performer(scenario, history).perform(permutation)


@pytest.mark.scenario("obsolete-pod")
def test_silent_while_a_pod_is_made(scenario: Scenario, permutation: str, history: Run) -> None:
    """A scheduler's request for a pod takes longer than a scheduler may be silent."""
    Performer(scenario, history).perform(permutation)


@pytest.mark.scenario("orphan-crash")
def test_orphans_found(scenario: Scenario, permutation: str, history: Run) -> None:
    """A scheduler finds what one that was killed had queued."""
    Performer(scenario, history).perform(permutation)


@pytest.mark.scenario("adoption-stall")
def test_adopted_slowly(scenario: Scenario, permutation: str, history: Run) -> None:
    """A dead scheduler's pods are adopted while the Kubernetes API answers late."""
    Performer(scenario, history).perform(permutation)
