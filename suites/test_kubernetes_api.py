"""Does Airflow bear what becomes of its requests to the Kubernetes API?

One request is disturbed, of thousands; every client of an API meets that on an ordinary day.
"""

import pytest

from run.run import Run
from scenarios.perform import Performer
from scenarios.scenario import Scenario


@pytest.mark.scenario("dropped-answer")
def test_dropped(scenario: Scenario, permutation: str, history: Run) -> None:
    """One connection breaks while a scheduler asks for a pod."""
    Performer(scenario, history).perform(permutation)


@pytest.mark.scenario("ambiguous-create")
def test_ambiguous(scenario: Scenario, permutation: str, history: Run) -> None:
    """One connection breaks when a pod was made, and before its scheduler is told so."""
    Performer(scenario, history).perform(permutation)


@pytest.mark.scenario("refused-create")
def test_refused(scenario: Scenario, permutation: str, history: Run) -> None:
    """One request for a pod is answered by an error."""
    Performer(scenario, history).perform(permutation)


@pytest.mark.scenario("late-exit")
def test_told_late(scenario: Scenario, permutation: str, history: Run) -> None:
    """A pod's end is told when its task has another pod already."""
    Performer(scenario, history).perform(permutation)


@pytest.mark.scenario("watch-gap")
def test_removed_unseen(scenario: Scenario, permutation: str, history: Run) -> None:
    """A pod ends and is removed while its scheduler's watch of pods hangs."""
    Performer(scenario, history).perform(permutation)
