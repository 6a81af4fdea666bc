"""Does every update of an asset come to those that wait for it, and with all they wait for?"""

import pytest

from run.run import Run
from scenarios.perform import Performer
from scenarios.scenario import Scenario


@pytest.mark.scenario("second-asset-event")
def test_updated_twice(scenario: Scenario, permutation: str, history: Run) -> None:
    """An asset is updated twice before a scheduler looks."""
    Performer(scenario, history).perform(permutation)


@pytest.mark.scenario("half-condition")
def test_half_updated(scenario: Scenario, permutation: str, history: Run) -> None:
    """Two assets are updated, and one of them again while a scheduler is about to act on it."""
    Performer(scenario, history).perform(permutation)


@pytest.mark.scenario("split-partition")
def test_updated_at_once(scenario: Scenario, permutation: str, history: Run) -> None:
    """Two assets that a DAG waits for are updated at the same moment."""
    Performer(scenario, history).perform(permutation)


@pytest.mark.scenario("fired-partition")
def test_updated_while_its_run_is_made(scenario: Scenario, permutation: str, history: Run) -> None:
    """A partition is updated while a scheduler makes the run of it."""
    Performer(scenario, history).perform(permutation)
