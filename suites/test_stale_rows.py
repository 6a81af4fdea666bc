"""Does what a process read still count when it acts on it?"""

import pytest

from run.run import Run
from scenarios.perform import Performer
from scenarios.scenario import Scenario


@pytest.mark.scenario("stuck-sweep")
def test_swept(scenario: Scenario, permutation: str, history: Run) -> None:
    """A worker starts while a scheduler takes its task for stuck."""
    Performer(scenario, history).perform(permutation)


@pytest.mark.scenario("zombie-purge")
def test_purged(scenario: Scenario, permutation: str, history: Run) -> None:
    """A worker's heartbeats come again while a scheduler takes it for dead."""
    Performer(scenario, history).perform(permutation)


@pytest.mark.scenario("lost-locks")
def test_drained(scenario: Scenario, permutation: str, history: Run) -> None:
    """A task succeeds while a scheduler that has read its row ends another one."""
    Performer(scenario, history).perform(permutation)


@pytest.mark.scenario("queued-success")
def test_marked(scenario: Scenario, permutation: str, history: Run) -> None:
    """A person marks a task while a scheduler is about to queue it."""
    Performer(scenario, history).perform(permutation)


@pytest.mark.scenario("clear-vs-start")
def test_cleared(scenario: Scenario, permutation: str, history: Run) -> None:
    """A person clears a task while its worker starts."""
    Performer(scenario, history).perform(permutation)


@pytest.mark.scenario("deleted-stuck")
def test_deleted(scenario: Scenario, permutation: str, history: Run) -> None:
    """A person deletes a run while a scheduler gives its task up as stuck."""
    Performer(scenario, history).perform(permutation)
