"""A cluster that holds what a test says, served to the real client: to be read, not changed."""

import json
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import kubernetes

from lab.kubeapi import selectors

Manifest = dict[str, Any]

_KINDS = {"pods": "Pod", "configmaps": "ConfigMap", "secrets": "Secret"}


@contextmanager
def cluster_of(manifests: Iterable[Manifest]) -> Iterator[Any]:
    """Serve the manifests of one namespace; yield a `kubernetes.client.ApiClient` for them."""
    held = list(manifests)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            address = urlsplit(self.path)
            plural, _, name = address.path.split("/", 5)[5].partition("/")
            of_kind = [each for each in held if each["kind"] == _KINDS[plural]]
            wanted = parse_qs(address.query).get("labelSelector", [""])[0]
            selector = selectors.parse(wanted, "", ())
            found = [
                each
                for each in of_kind
                if selector.matches(each["metadata"].get("labels", {}), {})
                and name in ("", each["metadata"]["name"])
            ]
            self._answer({"kind": "List", "metadata": {}, "items": found} if not name else found)

        def _answer(self, found: Any) -> None:
            body = found[0] if isinstance(found, list) and found else found
            self.send_response(200 if body else 404)
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(json.dumps(body or {"kind": "Status", "code": 404}).encode())

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    configuration = kubernetes.client.Configuration()
    configuration.host = f"http://127.0.0.1:{server.server_address[1]}"
    configuration.proxy = None
    try:
        yield kubernetes.client.ApiClient(configuration)
    finally:
        server.shutdown()
        server.server_close()


def release(name: str, config: str, env: dict[str, str] | None = None) -> list[Manifest]:
    """Return what the official chart makes of a release: its configuration, its components."""
    return [
        {"kind": "ConfigMap", "metadata": {"name": f"{name}-config"}}
        | {"data": {"airflow.cfg": config}},
        *(
            _component(name, component, env or {})
            for component in ("scheduler", "api-server", "dag-processor")
        ),
    ]


def _component(release: str, component: str, env: dict[str, str]) -> Manifest:
    key = {"secretKeyRef": {"name": f"{release}-metadata", "key": "connection"}}
    return {
        "kind": "Pod",
        "metadata": {
            "name": f"{release}-{component}-1",
            "labels": {"tier": "airflow", "component": component, "release": release},
        },
        "spec": {
            "containers": [
                {
                    "name": component,
                    "image": "apache/airflow:3.0.6",
                    "env": [
                        {"name": "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN", "valueFrom": key},
                        *({"name": name, "value": value} for name, value in env.items()),
                    ],
                    "volumeMounts": [
                        {"name": "config", "mountPath": "/x", "subPath": "airflow.cfg"}
                    ],
                }
            ],
            "volumes": [{"name": "config", "configMap": {"name": f"{release}-config"}}],
        },
        "status": {"phase": "Running"},
    }
