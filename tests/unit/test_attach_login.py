"""Airflow's API is entered with what the user gave, and a refusal is one clear line."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from common.errors import UserError
from lab.api import AirflowAPI, Login


class Guarded(BaseHTTPRequestHandler):
    """Gives a token to one user, by POST alone, as FabAuthManager does."""

    def do_GET(self) -> None:
        self._answer(405, {})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        known = body == {"username": "ann", "password": "secret"}
        self._answer(201 if known else 401, {"access_token": "hers"} if known else {})

    def _answer(self, status: int, body: dict[str, str]) -> None:
        self.send_response(status)
        self.end_headers()
        self.wfile.write(json.dumps(body).encode())

    def log_message(self, format: str, *_: object) -> None:
        assert format


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    server = HTTPServer(("127.0.0.1", 0), Guarded)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


def test_a_user_gets_a_token(url: str) -> None:
    assert AirflowAPI(url, login=Login(user="ann", password="secret")).token() == "hers"


def test_a_given_token_is_used_as_it_is(url: str) -> None:
    assert AirflowAPI(url, login=Login(token="given")).token() == "given"


@pytest.mark.parametrize(
    ("login", "said"),
    [
        (Login(), "wants a login"),
        (Login(user="ann", password="wrong"), "does not let in the user ann"),
    ],
)
def test_a_refusal_is_told_without_the_password(url: str, login: Login, said: str) -> None:
    with pytest.raises(UserError, match=said) as caught:
        AirflowAPI(url, login=login).token()
    assert "HA_CHAOS_API_TOKEN" in str(caught.value)
    assert "wrong" not in str(caught.value)


def test_the_environment_tells_who_we_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HA_CHAOS_API_USER", "ann")
    monkeypatch.setenv("HA_CHAOS_API_PASSWORD", "secret")
    monkeypatch.delenv("HA_CHAOS_API_TOKEN", raising=False)
    assert Login.from_environment() == Login("", "ann", "secret")
