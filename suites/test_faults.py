"""Does Airflow keep its promises while something of it fails, and once that is healed?

Each fault begins when a flood is under way, lasts a while, and is healed while the flood goes on.
What it delays must be done in the end; what it kills may be tried again, and nothing else.

A quick session has one fault of each part: a scheduler, the API server, the database, the network,
and pods. Scenarios have frozen schedulers, lost answers and broken watches too.
"""

import pytest

from chaos.api_server_errors import ApiServerErrors
from chaos.api_server_kill import ApiServerKill
from chaos.api_server_pause import ApiServerPause
from chaos.database_restart import DatabaseRestart
from chaos.dropped_requests import DroppedRequests
from chaos.late_pod_end import LatePodEnd
from chaos.link_cut import LinkCut
from chaos.link_loss import LinkLoss
from chaos.network_latency import NetworkLatency
from chaos.node_pause import NodePause
from chaos.pod_api_latency import PodApiLatency
from chaos.pod_deletion import PodDeletion
from chaos.pod_network import PodNetwork
from chaos.process_stop import ProcessStop
from chaos.scheduler_kill import SchedulerKill
from chaos.scheduler_pause import SchedulerPause
from chaos.slow_api_server import SlowApiServer
from chaos.slow_pods import SlowPods
from chaos.watch_broken import WatchBroken
from harness.faults import Faults
from harness.flood import Floods

pytestmark = pytest.mark.flood("faults")


@pytest.mark.fault(SchedulerKill("scheduler-2", seconds=10))
def test_scheduler_kill(flood: Floods, faults: Faults) -> None:
    """One scheduler is killed; the other adopts its task instances and pods."""
    with flood.running(), faults():
        flood.go_on(10)


@pytest.mark.depth("nightly")
@pytest.mark.fault(ProcessStop("api-server"))
@pytest.mark.parametrize("process", ["api-server", "dag-processor"])
def test_process_stop(flood: Floods, faults: Faults, process: str) -> None:
    """The API server or the DAG processor is told to end, and is started again."""
    with flood.running(), faults(process=process):
        flood.go_on(10)


@pytest.mark.depth("nightly")
@pytest.mark.issue("woken-scheduler", shows=False)
@pytest.mark.fault(SchedulerPause("scheduler-2", seconds=40))
def test_scheduler_pause(flood: Floods, faults: Faults) -> None:
    """One scheduler is frozen for longer than scheduler_health_check_threshold, and wakes."""
    with flood.running(), faults():
        flood.go_on(40)


@pytest.mark.fault(ApiServerKill(seconds=10))
def test_api_server_kill(flood: Floods, faults: Faults) -> None:
    """The API server is killed; workers say what they have to say once there is another."""
    with flood.running(), faults():
        flood.go_on(10)


@pytest.mark.depth("nightly")
@pytest.mark.fault(ApiServerPause(seconds=20))
def test_api_server_pause(flood: Floods, faults: Faults) -> None:
    """The API server is frozen, with what workers had asked it, and goes on."""
    with flood.running(), faults():
        flood.go_on(20)


@pytest.mark.depth("nightly")
@pytest.mark.fault(ApiServerErrors(seconds=10))
def test_api_server_errors(flood: Floods, faults: Faults) -> None:
    """Workers are answered 503 for a while, whatever they ask."""
    with flood.running(), faults():
        flood.go_on(10)


@pytest.mark.depth("nightly")
@pytest.mark.fault(SlowApiServer(2.0))
@pytest.mark.parametrize("when", ["before", "after"])
def test_slow_api_server(flood: Floods, faults: Faults, when: str) -> None:
    """What workers ask takes two seconds longer, on the way there or back."""
    with flood.running(), faults(when=when):
        flood.go_on(20)


@pytest.mark.depth("nightly")
@pytest.mark.fault(DroppedRequests(request="state", count=10))
def test_dropped_requests(flood: Floods, faults: Faults) -> None:
    """Ten workers say that they are done, and are not heard the first time."""
    with flood.running(), faults():
        flood.go_on(20)


@pytest.mark.fault(DatabaseRestart())
@pytest.mark.parametrize(
    "how", ["fast", pytest.param("immediate", marks=pytest.mark.depth("nightly"))]
)
def test_database_restart(flood: Floods, faults: Faults, how: str) -> None:
    """The database ends every session and transaction of everybody."""
    with flood.running(), faults(how=how):
        flood.go_on(1)


@pytest.mark.depth("nightly")
@pytest.mark.fault(LinkCut("scheduler-2", seconds=10))
@pytest.mark.parametrize("how", ["reset", "drop"])
def test_link_cut(flood: Floods, faults: Faults, how: str) -> None:
    """One scheduler cannot reach its database for a while."""
    with flood.running(), faults(how=how):
        flood.go_on(10)


@pytest.mark.depth("nightly")
@pytest.mark.fault(LinkLoss("scheduler-2", loss=0.05))
def test_link_loss(flood: Floods, faults: Faults) -> None:
    """One scheduler's database link loses one piece in twenty, each way."""
    with flood.running(), faults():
        flood.go_on(20)


@pytest.mark.fault(NetworkLatency("scheduler-2", latency=0.1, jitter=0.05))
def test_network_latency(flood: Floods, faults: Faults) -> None:
    """One scheduler is far from its database for a while."""
    with flood.running(), faults():
        flood.go_on(20)


@pytest.mark.fault(PodDeletion(interval=3))
def test_pod_deletion(flood: Floods, faults: Faults) -> None:
    """Running worker pods are deleted, one after another; their tries end, and others follow."""
    with flood.running(), faults():
        flood.go_on(20)


@pytest.mark.depth("nightly")
@pytest.mark.fault(SlowPods(delay=10))
def test_slow_pods(flood: Floods, faults: Faults) -> None:
    """Each pod takes ten seconds longer to start."""
    with flood.running(), faults():
        flood.go_on(20)


@pytest.mark.depth("nightly")
@pytest.mark.fault(PodApiLatency("scheduler-2", latency=0.5))
def test_pod_api_latency(flood: Floods, faults: Faults) -> None:
    """The Kubernetes API takes half a second longer for all that one scheduler asks of it."""
    with flood.running(), faults():
        flood.go_on(20)


@pytest.mark.depth("nightly")
@pytest.mark.fault(WatchBroken("scheduler-2"))
@pytest.mark.parametrize("how", ["gone", "closed", "cut"])
def test_watch_broken(flood: Floods, faults: Faults, how: str) -> None:
    """One scheduler's watch of its pods ends, as each does some day."""
    with flood.running(), faults(how=how):
        flood.go_on(10)


@pytest.mark.depth("nightly")
@pytest.mark.fault(WatchBroken("scheduler-2", how="silent", seconds=40))
def test_watch_silent(flood: Floods, faults: Faults) -> None:
    """One scheduler's watch hangs for longer than its client waits for a word (30 s)."""
    with flood.running(), faults():
        flood.go_on(40)


@pytest.mark.depth("nightly")
@pytest.mark.fault(LatePodEnd("scheduler-2", late=5))
def test_late_pod_end(flood: Floods, faults: Faults) -> None:
    """One scheduler hears of its pods' ends five seconds late."""
    with flood.running(), faults():
        flood.go_on(20)


@pytest.mark.fault(NodePause("scheduler-2", seconds=20))
def test_node_pause(flood: Floods, faults: Faults) -> None:
    """The node that one scheduler runs on stands still, with all that runs there."""
    with flood.running(), faults():
        flood.go_on(20)


@pytest.mark.fault(PodNetwork("scheduler-2", loss=0.05))
def test_pod_network_loss(flood: Floods, faults: Faults) -> None:
    """One packet in twenty, to and from one scheduler, is lost."""
    with flood.running(), faults():
        flood.go_on(20)


@pytest.mark.fault(PodNetwork("scheduler-2", latency=0.1, jitter=0.05))
def test_pod_network_latency(flood: Floods, faults: Faults) -> None:
    """One scheduler is far from everything: database, Kubernetes API and API server."""
    with flood.running(), faults():
        flood.go_on(20)
