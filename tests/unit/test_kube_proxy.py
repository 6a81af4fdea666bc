"""Which proxy is taken is decided as kubectl does, for API calls and streams at once."""

import pytest

from common.errors import UserError
from lab.kube.proxy import Proxy, choose

NAMED = "https://api.example.com:6443"
ADDRESS = "https://10.1.2.3:6443"
PROXY = "http://proxy.example.com:3128"


def chosen(server: str, **environ: str) -> Proxy | None:
    return choose(server, "", environ)


@pytest.mark.parametrize(
    ("server", "no_proxy", "straight"),
    [
        (NAMED, "", False),
        (NAMED, "*", True),
        (NAMED, "api.example.com", True),
        (NAMED, "API.Example.com", True),
        (NAMED, "example.com", True),
        (NAMED, ".example.com", True),
        (NAMED, "*.example.com", True),
        (NAMED, "ample.com", False),
        (NAMED, ".api.example.com", False),
        (NAMED, "api.example.com:6443", True),
        (NAMED, "api.example.com:443", False),
        (NAMED, ".example.com:6443", True),
        (NAMED, "localhost, 10.0.0.0/8 , example.com", True),
        (NAMED, "10.0.0.0/8", False),
        (NAMED, "10.1.2.3", False),
        (NAMED, ",, ,", False),
        ("https://example.com", "example.com:443", True),
        ("https://example.com", ".example.com", False),
        ("http://example.com", "example.com:443", False),
        (ADDRESS, "10.0.0.0/8", True),
        (ADDRESS, "10.1.2.3/8", True),
        (ADDRESS, "10.1.3.0/24", False),
        (ADDRESS, "10.1.2.3", True),
        (ADDRESS, "10.1.2.3:6443", True),
        (ADDRESS, "10.1.2.3:443", False),
        (ADDRESS, "10.1.2.30", False),
        (ADDRESS, ".2.3", False),
        (ADDRESS, "10.0.0.0/99, nonsense/8", False),
        ("https://[fd00::5]:6443", "fd00::/8", True),
        ("https://[fd00::5]:6443", "fd00::5", True),
        ("https://[fd00::5]:6443", "[fd00::5]:6443", True),
        ("https://[fd00::5]:6443", "[fd00::5]:443", False),
        ("https://127.0.0.1:6443", "", True),
        ("https://[::1]:6443", "", True),
        ("https://localhost:6443", "", True),
    ],
)
def test_what_no_proxy_lists_is_reached_straight(
    server: str, no_proxy: str, straight: bool
) -> None:
    scheme = "HTTP_PROXY" if server.startswith("http:") else "HTTPS_PROXY"
    for upper in (True, False):
        names = (scheme, "NO_PROXY") if upper else (scheme.lower(), "no_proxy")
        found = chosen(server, **dict(zip(names, (PROXY, no_proxy), strict=True)))
        assert (found is None) == straight


def test_each_scheme_has_its_variable_and_the_upper_case_one_comes_first() -> None:
    assert chosen(NAMED, HTTP_PROXY=PROXY, ALL_PROXY=PROXY) is None
    assert chosen(NAMED.replace("https", "http"), HTTPS_PROXY=PROXY) is None
    found = chosen(NAMED, HTTPS_PROXY="http://first:1", https_proxy="http://second:2")
    assert found is not None
    assert (found.host, found.port, found.source) == ("first", 1, "HTTPS_PROXY")


def test_the_kubeconfig_s_proxy_counts_whatever_the_environment_says() -> None:
    environ = {"HTTPS_PROXY": PROXY, "NO_PROXY": "*"}
    for server in (NAMED, "https://127.0.0.1:6443"):
        found = choose(server, "http://own:81", environ)
        assert found is not None
        assert (found.host, found.port) == ("own", 81)


@pytest.mark.parametrize(
    ("url", "scheme", "host", "port", "login"),
    [
        ("proxy", "http", "proxy", 80, ("", "")),
        ("proxy:3128", "http", "proxy", 3128, ("", "")),
        ("http://me:my%40%2Fword@proxy:1", "http", "proxy", 1, ("me", "my@/word")),
        ("http://me:my@word@proxy:1/", "http", "proxy", 1, ("me", "my@word")),
        ("socks5://proxy", "socks5", "proxy", 1080, ("", "")),
        ("socks5h://me:word@[fd00::1]:9", "socks5", "fd00::1", 9, ("me", "word")),
    ],
)
def test_a_proxy_s_url_is_read(
    url: str, scheme: str, host: str, port: int, login: tuple[str, str]
) -> None:
    found = chosen(NAMED, HTTPS_PROXY=url)
    assert found is not None
    assert (found.scheme, found.host, found.port) == (scheme, host, port)
    assert (found.user, found.password) == login
    for shown in (str(found), repr(found)):
        assert "word" not in shown


@pytest.mark.parametrize(
    "url",
    [
        "http://u:hunter#2@proxy:1",
        "http://u:12/hunter@proxy:1",
        "http://u:12?hunter@proxy:1",
        "http://u:12#hunter@proxy:1",
        "http://u:hunter@:1",
        "http://u:hunter@proxy:port",
        "http://[u:hunter@proxy",
        "https://u:hunter@proxy:1",
        "ftp://u:hunter@proxy",
    ],
)
def test_a_proxy_that_cannot_be_used_is_refused_without_its_password(url: str) -> None:
    with pytest.raises(UserError, match="The proxy of HTTPS_PROXY") as caught:
        chosen(NAMED, HTTPS_PROXY=url)
    assert caught.value.hint
    for word in ("hunter", "12", "u:"):
        assert word not in str(caught.value)
