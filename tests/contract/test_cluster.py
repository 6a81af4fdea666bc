"""What a cluster adds to its API server, and that these tests leave nothing in it."""

import time

from kubernetes.client.rest import ApiException

from tests.contract.apis import KubernetesAPI, Server, own_namespace

GONE_SECONDS = 60.0


def test_a_namespace_of_a_test_is_gone_afterwards_with_the_pods_that_no_kubelet_would_end(
    cluster_api: Server,
) -> None:
    with own_namespace(cluster_api) as api:
        api.create("unbound")
        api.create("bound")
        api.bind("bound", "a-node-that-nobody-has")
        api.set_phase("bound", "Running")
    deadline = time.monotonic() + GONE_SECONDS
    while _is_there(api):
        assert time.monotonic() < deadline, f"{api.namespace} stays"
        time.sleep(0.1)


def test_the_clusters_scheduler_leaves_the_pods_of_these_tests_alone(cluster_api: Server) -> None:
    """A pod of the cluster's own scheduler, made later, is seen to: ours would have been too."""
    with own_namespace(cluster_api) as api:
        api.create("ours")
        theirs = api.pod("theirs")
        theirs["spec"] |= {"schedulerName": "default-scheduler", "nodeSelector": {"no": "node"}}
        api.core.create_namespaced_pod(api.namespace, theirs)
        deadline = time.monotonic() + GONE_SECONDS
        while not api.read("theirs").status.conditions:
            assert time.monotonic() < deadline, "the cluster has no scheduler"
            time.sleep(0.1)
        ours = api.read("ours")
        assert (ours.spec.node_name, ours.status.conditions) == (None, None)


def _is_there(api: KubernetesAPI) -> bool:
    try:
        api.core.read_namespace(api.namespace)
    except ApiException as error:
        if error.status == 404:
            return False
        raise
    return True
