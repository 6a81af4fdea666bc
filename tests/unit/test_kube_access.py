"""API calls and streams reach the same server the same way: with TLS, and a proxy."""

import base64
import socket
from pathlib import Path
from typing import Any

import pytest
from urllib3.exceptions import HTTPError

from lab.kube.client import api_client
from lab.kube.failures import explained
from tests.unit.kube_reached import NAME, NEEDED, POD, There, call, followed, stream, works
from tests.unit.kube_ways import Authority, proxy_to

pytest_plugins = ["tests.unit.kube_reached"]
pytestmark = NEEDED


# How the server is known.


def test_a_server_is_reached_by_its_certificate_s_name(there: There, tmp_path: Path) -> None:
    assert works(api_client(there.kubeconfig()), tmp_path)


def test_an_authority_may_stand_inline_or_at_a_relative_path(there: There) -> None:
    pem = there.authority.certificate.read_bytes()
    (there.folder / "ca.pem").write_bytes(pem)
    inline = {"certificate-authority-data": base64.b64encode(pem).decode()}
    for more in ({"certificate-authority": "ca.pem"}, {**inline, "certificate-authority": "no"}):
        client = api_client(there.kubeconfig(**more))
        assert call(client) == [POD]
        stream(client)


def test_no_certificate_is_checked_where_the_kubeconfig_says_so(
    there: There, tmp_path: Path
) -> None:
    more = {"insecure-skip-tls-verify": True, "tls-server-name": ""}
    assert works(api_client(there.kubeconfig(**more)), tmp_path)


@pytest.mark.parametrize(
    ("more", "said", "hint"),
    [
        ({"tls-server-name": ""}, "is for another name", "tls-server-name"),
        ({"certificate-authority": "other"}, "is not trusted", "certificate-authority"),
        ({"certificate-authority": ""}, "is not trusted", "certificate-authority"),
        ({"server": "https://127.0.0.1:1"}, "127.0.0.1:1: Connection refused", "--context"),
        ({"server": "https://no.such.host.invalid"}, "no.such.host.invalid:443: ", "--context"),
        ({"server": "http://127.0.0.1:{port}"}, "", ""),
    ],
)
def test_a_server_that_is_not_reached_is_told_the_same_by_calls_and_streams(
    there: There, more: dict[str, str], said: str, hint: str
) -> None:
    if more.get("certificate-authority"):
        other = Authority(there.folder, "other")
        more = {"certificate-authority": str(other.certificate)}
    more = {key: value.format(port=there.standin.port) for key, value in more.items()}
    client = api_client(there.kubeconfig(**more))
    for ask in (call, stream):
        with pytest.raises((HTTPError, OSError)) as caught:
            ask(client)
        error = explained(caught.value, "The cluster does not answer")
        assert str(error).startswith("The cluster does not answer: ")
        assert said in error.message
        assert hint in error.hint
        assert "\n" not in str(error)
        assert "object at" not in str(error)


# The way.


def test_calls_and_streams_go_through_the_proxy_with_its_login(
    there: There, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = f"https://{NAME}:6443"
    with proxy_to(there.standin.port, "me:p@ss/word") as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url("me:p%40ss%2Fword"))
        client = api_client(there.kubeconfig(server=server))
        for way in (call, stream, lambda c: followed(c, tmp_path)):
            proxy.asked.clear()
            client.rest_client.pool_manager.clear()
            way(client)
            assert proxy.asked
            assert set(proxy.asked) == {f"CONNECT {NAME}:6443 HTTP/1.1"}
        assert not proxy.refused


@pytest.mark.parametrize("where", ["NO_PROXY", "no_proxy"])
def test_calls_and_streams_go_straight_where_no_proxy_says_so(
    there: There, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    """The server's name leads to this machine here, as in a company's DNS."""
    real = socket.create_connection

    def resolved(address: tuple[str, int], *more: Any, **options: Any) -> socket.socket:
        return real(("127.0.0.1", address[1]), *more, **options)

    monkeypatch.setattr(socket, "create_connection", resolved)
    with proxy_to(there.standin.port) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url())
        monkeypatch.setenv(where, "10.0.0.0/8, .example.com")
        client = api_client(there.kubeconfig(server=f"https://{NAME}:{there.standin.port}"))
        assert works(client, tmp_path)
        assert proxy.asked == []


def test_the_kubeconfig_s_proxy_is_taken_by_calls_and_streams(
    there: There, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_PROXY", "*")
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    with proxy_to(there.standin.port, "me:word") as proxy:
        client = api_client(there.kubeconfig(**{"proxy-url": proxy.url("me:word")}))
        assert works(client, tmp_path)
        assert len(proxy.asked) >= 3


def test_a_socks_proxy_looks_the_server_s_name_up(there: There, tmp_path: Path) -> None:
    with proxy_to(there.standin.port, "me:word", socks=True) as proxy:
        more = {"proxy-url": proxy.url("me:word"), "server": f"https://{NAME}:6443"}
        assert works(api_client(there.kubeconfig(**more)), tmp_path)
        assert set(proxy.asked) == {f"{NAME}:6443"}
        more["proxy-url"] = proxy.url("me:wrong")
        with pytest.raises(HTTPError, match="does not accept the login"):
            call(api_client(there.kubeconfig(**more)))


def test_a_proxy_that_refuses_is_asked_once_and_told_without_its_login(
    there: There, monkeypatch: pytest.MonkeyPatch
) -> None:
    with proxy_to(there.standin.port, "me:word") as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url("me:hunter2"))
        client = api_client(there.kubeconfig(server=f"https://{NAME}:6443"))
        for number, ask in enumerate((call, stream), 1):
            with pytest.raises((HTTPError, OSError)) as caught:
                ask(client)
            assert proxy.refused == number
            text = str(explained(caught.value, "The cluster does not answer"))
            assert f"http://127.0.0.1:{proxy.port} (from HTTPS_PROXY) answers 407" in text
            assert "hunter2" not in text
            assert "NO_PROXY" in text


def test_a_proxy_that_is_not_there_is_named(there: There, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://me:hunter2@127.0.0.1:1")
    client = api_client(there.kubeconfig(server=f"https://{NAME}:6443"))
    with pytest.raises(HTTPError) as caught:
        call(client)
    text = str(explained(caught.value, "The cluster does not answer"))
    assert "the proxy http://127.0.0.1:1 (from HTTPS_PROXY): Connection refused" in text
    assert "hunter2" not in text


def test_what_is_no_proxy_is_told(there: There) -> None:
    with proxy_to(there.standin.port) as proxy:
        proxy.answer = "what?"
        proxy_url = {"proxy-url": proxy.url()}
        with pytest.raises(HTTPError) as caught:
            call(api_client(there.kubeconfig(**proxy_url)))
    assert "does not answer as an HTTP proxy" in str(explained(caught.value, "x"))
