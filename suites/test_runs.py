"""Does each run end once, whoever ends it?"""

import pytest

from run.run import Run
from scenarios.perform import Performer
from scenarios.scenario import Scenario


@pytest.mark.scenario("retry-unlocked")
def test_finished(scenario: Scenario, permutation: str, history: Run) -> None:
    """A scheduler's statement fails while it decides on runs, and it tries again."""
    Performer(scenario, history).perform(permutation)
