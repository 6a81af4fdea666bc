"""Is every task instance scheduled once a try, whatever the schedulers' timing?

The first question is put by force: a hold makes the interleaving of apache/airflow#57618 happen.
The others leave it to load and latency, from the likeliest to the quiet.
"""

import pytest

from chaos.network_latency import NetworkLatency
from chaos.statement_delay import StatementDelay
from harness.faults import Faults
from harness.flood import Floods
from run.run import Run
from scenarios.perform import Performer
from scenarios.scenario import Scenario


@pytest.mark.scenario("57618")
def test_held(scenario: Scenario, permutation: str, history: Run) -> None:
    """One scheduler is held between its snapshot and its row lock while the other schedules."""
    Performer(scenario, history).perform(permutation)


@pytest.mark.depth("nightly")
@pytest.mark.issue("57618")
@pytest.mark.flood("issue")
@pytest.mark.fault(StatementDelay("scheduler-2", delay=1.0))
def test_flood_with_delay_inside_the_statement(flood: Floods, faults: Faults) -> None:
    """The window is a second wide on one scheduler: where the race is, a flood falls into it."""
    with faults():
        flood.run()


@pytest.mark.depth("nightly")
@pytest.mark.issue("57618", shows=False)
@pytest.mark.flood("issue")
@pytest.mark.fault(NetworkLatency("scheduler-2", latency=0.05, jitter=0.01))
def test_flood_with_network_latency(flood: Floods, faults: Faults) -> None:
    """One scheduler is far from its database; its snapshots are not older for it."""
    with faults():
        flood.run()


@pytest.mark.depth("nightly")
@pytest.mark.issue("57618", shows=False)
@pytest.mark.flood("issue")
def test_flood_without_chaos(flood: Floods) -> None:
    """Nothing disturbs the schedulers but each other."""
    flood.run()
