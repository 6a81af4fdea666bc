"""The forms in which secrets are written down in text: settings, URLs, arguments, keys, headers.

Each form names words without one of which no text holds such a secret. So of a long log only the
lines that have such a word are looked at closely, which is what makes it fast; and every pattern is
bounded, so that no line can make it slow.
"""

import base64
import binascii
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from common.secret_prints import hide_printed
from common.secret_settings import (
    hide_blocks,
    hide_extra,
    hide_settings,
    hide_variables,
    lower_case,
)
from common.secret_urls import CLOSES, MASK, hide_urls

LONGEST = 1 << 15
"""Characters; no secret that is found by its form is longer, with what marks it."""


WHOLE = -1
"""A form that may reach anywhere in a text."""


@dataclass(frozen=True)
class Form:
    """One form: `hide` masks it in whole lines that hold one of `words`, which are lower case.

    The lines around, up to `back` characters before and `reach` behind, belong to it.
    """

    words: tuple[str, ...]
    hide: Callable[[str], str]
    reach: int = 0
    back: int = 0


def hide_forms(text: str) -> str:
    """Mask everything that is secret by its form, or by what it is called."""
    text = hide_printed(text, hide_forms)
    if "\\n" in text:
        text = _ESCAPED.sub(lambda found: _hide_escaped(found[0]), text)
    return _hide(text)


_ESCAPED = re.compile(r"[^\n]*\\n[^\n]*")
_LINE_END = re.compile(r"\\{1,8}n")


def _hide_escaped(line: str) -> str:
    """Mask secrets in a line that holds lines, as a repr of a text and JSON do."""
    found = _LINE_END.search(line)
    assert found is not None
    lines = _LINE_END.sub("\n", line)
    return line if (new := _hide(lines)) == lines else new.replace("\n", found[0])


def _hide(text: str) -> str:
    lower = lower_case(text)
    for form in FORMS:
        if form.reach == WHOLE:
            if form.words[0] in lower and (new := form.hide(text)) != text:
                text, lower = new, lower_case(new)
            continue
        parts, end = [], 0
        for begin, stop in _lines(lower, form):
            old = text[begin:stop]
            if (new := form.hide(old)) != old:
                parts += [text[end:begin], new]
                end = stop
        if parts:
            text = "".join([*parts, text[end:]])
            lower = lower_case(text)
    return text


def _lines(lower: str, form: Form) -> Iterator[tuple[int, int]]:
    """Yield the pieces of whole lines that may hold a form, in order and apart."""
    found: list[tuple[int, int]] = []
    for word in form.words:
        at = lower.find(word)
        while at >= 0:
            stop = lower.find("\n", at + len(word) - 1 + form.reach)
            stop = len(lower) if stop < 0 else stop + 1
            found.append((lower.rfind("\n", 0, max(at - form.back, 0)) + 1, stop))
            at = lower.find(word, stop if not form.reach else at + len(word))
    begin, end = 0, 0
    for start, stop in sorted(found):
        if start < end:
            end = max(end, stop)
            continue
        if end:
            yield begin, end
        begin, end = start, stop
    if end:
        yield begin, end


# --- command lines

_COMMANDS = tuple(
    re.compile(pattern)
    for pattern in (
        # curl -u user:x; docker run -u 1000:1000 is none.
        r"""((?:^|[\s"'])(?:-u|-U|--user|--proxy-user)(?:[ \t=]+|["'],[ \t]*)?["']?"""
        r"""(?!\d+:\d+\b)[^\s:"'/]{1,64}:)[^\s"']+""",
        r"""((?:mysql|mariadb)\w*\b[^\n|;&]{0,200}?[ \t]-p)["']?[^\s"']+""",
        r"""((?:sshpass|docker login|helm registry login|ldapsearch|redis-cli|rabbitmqadmin)\b"""
        r"""[^\n|;&]{0,200}?[ \t]-[paw][ \t]*["']?)(?!-)[^\s"']+""",
        r"(\bsqlplus[ \t]+(?:-\w[ \t]+){0,3}[^\s/]{1,64}/)[^\s@]+(?=@)",
        r"(\bjdbc:oracle:\w{2,8}:[^\s/@]{1,64}/)[^\s@]+(?=@)",
        r"(\bpass(?:in|out)?[ \t:]+pass:)[^\s\"']+",
    )
)


def _hide_commands(text: str) -> str:
    for pattern in _COMMANDS:
        text = pattern.sub(rf"\1{MASK}", text)
    return text


# --- keys that are secret by what they look like

_BEGIN = re.compile(r"-----BEGIN [A-Z0-9 ]{0,30}PRIVATE KEY(?: BLOCK)?-----")
_WHOLE = re.compile(r"[^-]{0,32000}-----END [A-Z0-9 ]{0,30}PRIVATE KEY(?: BLOCK)?-----")
_BODY = re.compile(
    r"(?:\\[nr])?(?:[A-Za-z0-9+/=_]{16,}|[A-Za-z0-9+/]{8,}\Z)(?:\\[nr][A-Za-z0-9+/=_]{0,80})*"
)
_ALIVE = re.compile(r"[A-Za-z0-9+/]{40}|[A-Za-z0-9+/]{8,}\Z")
_MOST_LINES = 400
_WITHOUT = 3


def hide_private_keys(text: str) -> str:
    """Mask private keys in PEM: on lines of their own, after a log's prefix, escaped, broken up."""
    parts, end = [], 0
    while found := _BEGIN.search(text, end):
        parts += [text[end : found.start()], f"-----{MASK}-----"]
        if whole := _WHOLE.match(text, found.end()):
            end = whole.end()
        else:
            end = _body_ends(text, found.end())
            parts.append(_BODY.sub(MASK, text[found.end() : end]))
    return "".join([*parts, text[end:]])


def _body_ends(text: str, at: int) -> int:
    """Return where the lines of a key end; a few without a part of it are in between."""
    end, without = at, 0
    for _ in range(_MOST_LINES):
        at, line = _next_line(text, at)
        if "-----END" in line:
            return at
        without = 0 if _ALIVE.search(line) else without + 1
        if not line or without > _WITHOUT:
            break
        end = end if without else at
    return end


def _next_line(text: str, at: int) -> tuple[int, str]:
    """Return where the line that begins `at` ends, and the line."""
    stop = text.find("\n", at) + 1 or len(text)
    return stop, text[at:stop]


_BASE64 = re.compile(r"(?<![\w+/-])[A-Za-z0-9+/_-]{12,8000}={0,2}(?![\w+/])")
_BASIC = re.compile(r"(?i)(\bbasic\s+)([A-Za-z0-9+/]{6,4000}={0,2})")
_LOGIN = re.compile(r"://[^\s/@]{0,200}:[^\s@]+@|PRIVATE KEY-----")


def _decoded(text: str) -> str:
    try:
        padded = text.rstrip("=").replace("-", "+").replace("_", "/")
        return base64.b64decode(padded + "=" * (-len(padded) % 4)).decode()
    except (binascii.Error, UnicodeDecodeError):
        return ""


def _hide_base64(text: str) -> str:
    """Mask what holds a URL with a password, or a private key, as Kubernetes' Secrets have it."""
    return _BASE64.sub(lambda found: MASK if _LOGIN.search(_decoded(found[0])) else found[0], text)


def _hide_basic(text: str) -> str:
    return _BASIC.sub(lambda f: f"{f[1]}{MASK}" if ":" in _decoded(f[2]) else f[0], text)


def _by(pattern: str, instead: str = MASK) -> Callable[[str], str]:
    compiled = re.compile(pattern)
    return lambda text: compiled.sub(instead, text)


# --- documents within text

_WORD = rf"""(?:[^\s"'\\]|\\(?!["'])|["'](?!{CLOSES}))+"""
_IN_SQL = re.compile(r"([pP](?i:assword)\s+)'(?:[^'\n]|'')+'")
_SHOWN = re.compile(r"([pP]assword for [^:\n]{1,80}:\s*)[^\s'\"]+")
_NETRC = re.compile(r"(\blogin\s+\S+\s+(?:account\s+\S+\s+)?password\s+)" + _WORD)


def _hide_passwords(text: str) -> str:
    for pattern in (_IN_SQL, _SHOWN, _NETRC):
        text = pattern.sub(rf"\1{MASK}", text)
    return text


_IS_SECRET = re.compile(r"""kind\\{0,8}["']?:\s{0,40}\\{0,8}["']?Secret\b""")
_SECRETS_YAML = re.compile(
    r"""(?m)(^([ \t]*)(?:data|stringData):[ \t]*\n)(?:\2[ \t]+\S.*(?:\n|\Z))+"""
)
_SECRETS_JSON = re.compile(r"""((\\{0,8}["'])(?:data|stringData)\\*["']\s*:\s*)\{[^{}]*\}""")


def _hide_secrets(text: str) -> str:
    """Mask what the Secrets of Kubernetes hold."""
    if not _IS_SECRET.search(text):
        return text
    text = _SECRETS_YAML.sub(rf'\1\2  "{MASK}": "{MASK}"\n', text)
    return _SECRETS_JSON.sub(lambda f: f"{f[1]}{{{f[2]}{MASK}{f[2]}: {f[2]}{MASK}{f[2]}}}", text)


FORMS = (
    Form(("-----begin",), hide_private_keys, LONGEST),
    Form(("secret",), _hide_secrets, WHOLE),
    # A JWT; the header of any begins with {" in base64.
    Form(("eyj",), _by(r"eyJ[\w+/-]{8,}={0,2}(?:\.[\w-]+)*")),
    Form(("://", ":\\"), hide_urls),
    Form(("%3a%2f%2f",), _by(r"(?i)(%3a%2f%2f)[^\s&]{1,2000}(%40)", rf"\1{MASK}\2")),
    Form(("oi8v", "ovl", "6ly", "ls0tls1c"), _hide_base64),
    Form(("conn_type",), hide_extra),
    Form(("value",), hide_variables, 200, 120),
    Form((": |", ": >"), hide_blocks, LONGEST),
    Form(("",), hide_settings, WHOLE),
    Form((" -u", " -p", " -a", "-u'", '-u"', "-user", "sqlplus", "jdbc:o"), _hide_commands),
    Form(("basic",), _hide_basic),
    Form(
        ("bearer",),
        _by(r"([bB][eE][aA][rR][eE][rR])\s+(?=[^\s\"']*\d)[\w.~+/=-]{6,}", rf"\1 {MASK}"),
    ),
    # SQL, Airflow's simple auth manager, netrc.
    Form(("password",), _hide_passwords, 80, 80),
    # libpq's password file; the ports of PostgreSQL and of poolers.
    Form(
        (":*:", ":54", ":64", ":65"),
        _by(
            r"""(?m)((?:^|[\s(="'])(?=[\d:]*[a-z.*])(?:[\w.*-]|\\:){1,253}:(?:\d{2,5}|\*)"""
            r""":[\w*-]{1,63}:[\w*-]{1,63}:)""" + _WORD,
            rf"\1{MASK}",
        ),
    ),
    # A log-in of Docker's; SAS.
    Form(("auth",), _by(r"(\bauth\\*[\"']\s*:\s*\\*[\"'])[A-Za-z0-9+/]{8,}={0,2}", rf"\1{MASK}")),
    Form(("sig=",), _by(r"((?:^|[?&;\s])sig=)[^&\s\"';]+", rf"\1{MASK}")),
    # Keys that their makers gave a form of their own: AWS, GitHub, GitLab, Slack, Google.
    Form(
        ("",),
        _by(
            r"A(?:KI|SI)A[0-9A-Z]{16}|gh[pousr]_\w{36,}|github_pat_\w{22,}|glpat-[\w-]{20,}"
            r"|xox[abeprs]-[\w-]{10,}|AIza[\w-]{35}"
        ),
        WHOLE,
    ),
)
"""In this order: what one masks, the next does not see."""
