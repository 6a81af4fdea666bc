#!/usr/bin/env bash
# The official Python client of Kubernetes takes a kubeconfig otherwise than kubectl does, silently.
#
# kubernetes 37.0.2, websocket-client 1.9.2, urllib3 2.8.0.
#
# Four guesses that are wrong, each tried on a server here that writes down what it was sent:
# - plugin: a plugin (`exec`) that fails is an error. It is a line of the root logger's: the request
#   is made all the same, as nobody, and what one reads is "system:anonymous cannot list pods".
#   (kubernetes-client/python#1409, closed as stale.)
# - file: a token's file (`tokenFile`) may end with a newline, as kubectl trims it, and is read again
#   when it has been rotated. With the newline no request can be made; without it the first token is
#   sent for ever.
# - login: a proxy's login (HTTPS_PROXY=http://USER:PASSWORD@HOST) is sent to it. It is to neither
#   API calls' nor streams' proxy, which answers 407.
# - way: API calls and streams (exec, port-forward) go the same way. NO_PROXY is read by two parsers.
#   A blank after a comma, or a port, hides an entry from streams; and ".ample.com" is about
#   api.example.com to streams.
#
# Seen:   plugin: request sent with no credentials
#         file: with a newline ValueError, rotated first-token
#         login: calls none, streams none
#         way: 'x, api.example.com' calls straight, streams proxy
#         way: 'api.example.com:6443' calls straight, streams proxy
#         way: '.ample.com' calls proxy, streams straight
set -euo pipefail

work=$(mktemp -d /tmp/finding.XXXXXX)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check \
    "kubernetes==37.0.2" "websocket-client==1.9.2" "urllib3==2.8.0"

cat > "$work/finding.py" <<'PYTHON'
import http.server
import logging
import os
import socket
import sys
import threading
from pathlib import Path

for name in list(os.environ):
    if name.lower().endswith("_proxy"):
        del os.environ[name]

from kubernetes import client, config
from kubernetes.stream import stream

work = Path(sys.argv[1])
logging.disable()
sent = []


class Server(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        sent.append(self.headers.get("Authorization"))
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(b'{"kind": "PodList", "items": []}')

    def do_CONNECT(self):
        sent.append(self.headers.get("Proxy-Authorization"))
        self.send_error(407)

    def log_message(self, *_):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Server)
threading.Thread(target=server.serve_forever, daemon=True).start()
here = f"http://127.0.0.1:{server.server_address[1]}"


def core(user, url=here):
    settings = client.Configuration()
    config.load_kube_config_from_dict(
        {
            "current-context": "c",
            "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
            "clusters": [{"name": "c", "cluster": {"server": url}}],
            "users": [{"name": "u", "user": user}],
        },
        client_configuration=settings,
    )
    settings.retries = False
    return client.CoreV1Api(client.ApiClient(settings))


def ask(core):
    sent.clear()
    try:
        core.list_namespaced_pod("default", _request_timeout=5)
    except Exception as error:
        return type(error).__name__
    return sent[0] or "no credentials"


def plugin():
    entry = {"command": "false", "apiVersion": "client.authentication.k8s.io/v1"}
    return f"request sent with {ask(core({'exec': entry}))}"


def file():
    token = work / "token"
    token.write_text("first-token\n")
    newline = ask(core({"tokenFile": str(token)}))
    token.write_text("first-token")
    kept = core({"tokenFile": str(token)})
    ask(kept)
    token.write_text("second-token")
    return f"with a newline {newline}, rotated {ask(kept).removeprefix('Bearer ')}"


def call(no_proxy, proxy):
    return _ways(no_proxy, proxy, lambda core: core.list_namespaced_pod("x", _request_timeout=5))


def exec_(no_proxy, proxy):
    def run(core):
        stream(core.connect_get_namespaced_pod_exec, "p", "x", command=["true"], stdout=True)

    return _ways(no_proxy, proxy, run)


def _ways(no_proxy, proxy, ask):
    """Return what the proxy was sent, or `straight` if it was not asked."""
    os.environ.update(HTTPS_PROXY=proxy, NO_PROXY=no_proxy)
    sent.clear()
    real, dialled = socket.getaddrinfo, []

    def lookup(host, *more, **options):
        dialled.append(host)
        return real("127.0.0.1" if host == "127.0.0.1" else "no.such.host.invalid", *more, **options)

    socket.getaddrinfo = lookup
    try:
        ask(core({}, "https://api.example.com:6443"))
    except Exception:
        pass
    finally:
        socket.getaddrinfo = real
    if "127.0.0.1" not in dialled:
        return "straight"
    return sent[0] if sent else "nothing"


seen = [f"plugin: {plugin()}", f"file: {file()}"]
there = here.replace("//", "//user:password@")
logins = [ask("", there) or "none" for ask in (call, exec_)]
seen.append(f"login: calls {logins[0]}, streams {logins[1]}")
for entry in ("x, api.example.com", "api.example.com:6443", ".ample.com"):
    ways = ["straight" if ask(entry, here) == "straight" else "proxy" for ask in (call, exec_)]
    seen.append(f"way: {entry!r} calls {ways[0]}, streams {ways[1]}")
print("\n".join(seen))
wanted = [
    "plugin: request sent with no credentials",
    "file: with a newline ValueError, rotated first-token",
    "login: calls none, streams none",
    "way: 'x, api.example.com' calls straight, streams proxy",
    "way: 'api.example.com:6443' calls straight, streams proxy",
    "way: '.ample.com' calls proxy, streams straight",
]
sys.exit(0 if seen == wanted else f"changed, was {wanted}")
PYTHON
"$work/venv/bin/python" "$work/finding.py" "$work"
