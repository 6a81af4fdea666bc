"""Does Airflow keep its promises while something of it fails, and once that is healed?

Each fault begins when a flood is under way, lasts a while, and is healed while the flood goes on.
What it delays must be done in the end; what it kills may be tried again, and nothing else.
"""

import pytest

from harness.faults import Faults
from harness.flood import Floods

pytestmark = pytest.mark.flood("faults")


@pytest.mark.needs("kill")
def test_scheduler_kill(flood: Floods, faults: Faults) -> None:
    """One scheduler is killed; the other adopts its task instances and pods."""
    with flood.running(), faults.scheduler_kill("scheduler-2", seconds=10):
        flood.go_on(10)


@pytest.mark.issue("woken-scheduler", shows=False)
@pytest.mark.needs("pause")
def test_scheduler_pause(flood: Floods, faults: Faults) -> None:
    """One scheduler is frozen for longer than scheduler_health_check_threshold, and wakes."""
    with flood.running(), faults.scheduler_pause("scheduler-2", seconds=40):
        flood.go_on(40)


@pytest.mark.needs("restart-database")
@pytest.mark.parametrize("how", ["fast", "immediate"])
def test_database_restart(flood: Floods, faults: Faults, how: str) -> None:
    """The database ends every session and transaction of everybody."""
    with flood.running(), faults.database_restart(how):
        flood.go_on(1)


@pytest.mark.parametrize("how", ["reset", "drop"])
def test_link_cut(flood: Floods, faults: Faults, how: str) -> None:
    """One scheduler cannot reach its database for a while."""
    with flood.running(), faults.link_cut("scheduler-2", how, seconds=10):
        flood.go_on(10)


def test_link_loss(flood: Floods, faults: Faults) -> None:
    """One scheduler's database link loses one piece in twenty, each way."""
    with flood.running(), faults.link_loss("scheduler-2", loss=0.05):
        flood.go_on(20)


def test_network_latency(flood: Floods, faults: Faults) -> None:
    """One scheduler is far from its database for a while."""
    with flood.running(), faults.network_latency("scheduler-2", seconds=0.1, jitter=0.05):
        flood.go_on(20)


def test_pod_deletion(flood: Floods, faults: Faults) -> None:
    """Running worker pods are deleted, one after another; their tries end, and others follow."""
    with flood.running(), faults.pod_deletion(interval=3):
        flood.go_on(20)


@pytest.mark.needs("delay-pods")
def test_slow_pods(flood: Floods, faults: Faults) -> None:
    """Each pod takes ten seconds longer to start."""
    with flood.running(), faults.slow_pods(delay=10):
        flood.go_on(20)


@pytest.mark.needs("node")
def test_node_pause(flood: Floods, faults: Faults) -> None:
    """The node that one scheduler runs on stands still, with all that runs there."""
    with flood.running(), faults.node_pause("scheduler-2", seconds=20):
        flood.go_on(20)


@pytest.mark.needs("node")
def test_pod_network_loss(flood: Floods, faults: Faults) -> None:
    """One packet in twenty, to and from one scheduler, is lost."""
    with flood.running(), faults.pod_network("scheduler-2", loss=0.05):
        flood.go_on(20)


@pytest.mark.needs("node", "netem")
def test_pod_network_latency(flood: Floods, faults: Faults) -> None:
    """One scheduler is far from everything: database, Kubernetes API and API server."""
    with flood.running(), faults.pod_network("scheduler-2", seconds=0.1, jitter=0.05):
        flood.go_on(20)
