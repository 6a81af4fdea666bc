"""What the server says of itself: the version, and the resources that clients may discover."""

import platform
from typing import Any

# Semantic versioning's build metadata says whose server this is without making it older.
VERSION = {
    "major": "1",
    "minor": "30",
    "gitVersion": "v1.30.0+kubeapi",
    "gitCommit": "",
    "gitTreeState": "clean",
    "buildDate": "1970-01-01T00:00:00Z",
    "goVersion": "none",
    "compiler": platform.python_implementation().lower(),
    "platform": f"{platform.system().lower()}/{platform.machine()}",
}

API_GROUPS: dict[str, Any] = {"kind": "APIGroupList", "apiVersion": "v1", "groups": []}


def api_versions(address: str) -> dict[str, Any]:
    """Return the answer to GET /api; `address` is the server's own host and port."""
    return {
        "kind": "APIVersions",
        "versions": ["v1"],
        "serverAddressByClientCIDRs": [{"clientCIDR": "0.0.0.0/0", "serverAddress": address}],
    }


def _resource(name: str, kind: str, namespaced: bool, verbs: str, **more: Any) -> dict[str, Any]:
    return {
        "name": name,
        "singularName": "",
        "namespaced": namespaced,
        "kind": kind,
        "verbs": verbs.split(),
        **more,
    }


RESOURCE_LIST = {
    "kind": "APIResourceList",
    "apiVersion": "v1",
    "groupVersion": "v1",
    "resources": [
        _resource("bindings", "Binding", True, "create"),
        _resource("events", "Event", True, "create list", shortNames=["ev"]),
        _resource("namespaces", "Namespace", False, "create get list watch", shortNames=["ns"]),
        _resource(
            "pods",
            "Pod",
            True,
            "create delete deletecollection get list patch update watch",
            shortNames=["po"],
            categories=["all"],
        ),
        _resource("pods/binding", "Binding", True, "create"),
        _resource("pods/log", "Pod", True, "get"),
        _resource("pods/status", "Pod", True, "get patch update"),
    ],
}
