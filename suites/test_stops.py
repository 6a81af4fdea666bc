"""Does what is told to end do so in good order, as at every roll-out?"""

import pytest

from chaos.process_stop import ProcessStop
from harness.faults import Faults
from harness.flood import Floods
from run.run import Run
from scenarios.perform import Performer
from scenarios.scenario import Scenario


@pytest.mark.scenario("slow-stop")
def test_told_to_end(scenario: Scenario, permutation: str, history: Run) -> None:
    """A scheduler with nothing in hand is told to end."""
    Performer(scenario, history).perform(permutation)


@pytest.mark.depth("nightly")
@pytest.mark.flood("faults")
@pytest.mark.fault(ProcessStop("api-server"))
@pytest.mark.parametrize("process", ["api-server", "dag-processor"])
def test_process_stop(flood: Floods, faults: Faults, process: str) -> None:
    """One of the others is told to end while a flood is under way, and is started again."""
    with flood.running(), faults(process=process):
        flood.go_on(10)
