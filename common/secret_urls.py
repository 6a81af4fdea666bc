"""Hides whom URLs log in, and those URLs whose path or query is the secret."""

import re

MASK = "***"

CLOSES = r"""[\s,;:)\]}>\\]|$"""
"""What follows a quote that ends something; another one is a part of it."""

_LONGEST = 4096
_SCHEME = re.compile(r"([A-Za-z][\w+.-]{0,40}):\\{0,8}/\\{0,8}/")
_TOKEN = re.compile(rf"""(?:[^\s"'<>`]{{1,4000}}+|["'](?!{CLOSES})){{0,400}}+""")
_PLACE = re.compile(
    r"(?:[\w.*-]*|\[[0-9A-Fa-f:.%]*\])(?::(?:\d{0,5}|port|PORT|[%{$<*].*))?(?:,[\w.-]+(?::\d{0,5})?)*[.,;:)\]}|]*"
)
_TEMPLATE = re.compile(r"\{.*|\$.*|%s.*|<.*|\*\*\*.*|USER:PASSWORD|git|:memory:")
_WITH_PATHS = re.compile(
    r"(?i)https?|wss?|s3[an]?|gs|file|hdfs|oci|docker(?:-pullable)?|containerd|k8s"
)
_DIGEST = re.compile(r"@(?=sha256:)")
_HOOKS = re.compile(r"(?i)(?:^|[.-])(?:web)?hooks?(?:[.-]|$)")
_HOOK = re.compile(
    r"(?i)(?:(?:^|/)(?:webhooks?\w{0,2}|services/T\w{5,20}|hooks(?=/\w{16,}(?:[/?]|$)))/|(?:^|/)bot\d+:)"
)
_SIGNED = re.compile(
    r"(?i)([?&;](?:amp;)?(?:sig|signature|x-(?:amz|goog)-(?:signature|credential|security-token)"
    r"|(?:key|code)(?==[^&\s]{16})|sv-token)=)[^&\s\"'#;]+"
)


def hide_urls(text: str) -> str:
    """Mask users and passwords of URLs, the paths of webhooks, and signatures in queries."""
    parts, end = [], 0
    for found in _SCHEME.finditer(text):
        at = found.end()
        if at < end:
            continue
        token = _TOKEN.match(text, at, at + _LONGEST)
        assert token is not None
        if "@" not in token[0] and (within := token[0].find("://")) >= 0:
            token = _TOKEN.match(text, at, at + within)
            assert token is not None
        stop = at + _login_ends(found[1], text, at, token.end())
        if stop > at:
            parts += [text[end:at], MASK]
            end = stop
        if stop < token.end():
            rest = text[stop : token.end()]
            if (safe := _hide_path(rest)) != rest:
                parts += [text[end:stop], safe]
                end = token.end()
    return "".join([*parts, text[end:]])


def _login_ends(scheme: str, text: str, at: int, stop: int) -> int:
    """Return how many characters after `://` are secret: to the last @, if it ends a login.

    SQLAlchemy takes a password with /, # and ? in it as it is, so that the host may be far behind.
    """
    token = _DIGEST.sub("|", text[at:stop])
    authority = re.split(r"[/?#\\]", token, maxsplit=1)[0]
    is_place = _PLACE.fullmatch(authority) is not None
    if (last := token.rfind("@")) < 0:
        if is_place or ":" not in authority or _TEMPLATE.fullmatch(authority):
            return 0
        line = text.find("\n", stop)
        more = text.find("@", stop, min(stop + 128, len(text) if line < 0 else line))
        return (more if more >= 0 else stop) - at
    login = token[:last]
    if _TEMPLATE.fullmatch(login):
        return 0
    if is_place and (_WITH_PATHS.fullmatch(scheme) or "?" in token[:last]):
        return 0  # an @ of the path
    return last


def _hide_path(rest: str) -> str:
    """Mask what is secret behind a URL's login: a webhook's path, a signature."""
    host, slash, path = rest.partition("/")
    if slash and path and not path.endswith(".html"):
        if _HOOKS.search(host) and ".svc" not in host:
            return f"{host}/{MASK}"
        if hook := _HOOK.search(path):
            return f"{host}/{path[: hook.end()]}{MASK}"
    return _SIGNED.sub(rf"\1{MASK}", rest)
