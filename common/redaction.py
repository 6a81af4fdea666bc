"""Hides secrets in whatever is written down: histories, witnesses, kept logs, settings.

What a secret looks like is guessed from what it is called and from its own form; values that are
known to be secret, as a lab knows those that it made, are hidden wherever they stand.
"""

import base64
import re
from collections.abc import Callable, Iterable
from functools import lru_cache
from urllib.parse import quote

CUT = 300
"""Characters; a log's text goes no longer than this into a history."""

LONGEST = 1 << 16
"""Characters; no secret that is found by its form is longer, with what marks it."""

MASK = "***"

_A_WORD = re.compile(r"[a-z]{0,11}|.{0,5}")
"""A known value of this form is not hunted for: a password `airflow` is in every line of a log."""

# A key counts by how it ends: `jwt_secret` is one, `secret_name` says where one is kept. Its first
# letter stands apart, for a search that knows how a match begins is ten times as fast.
_KEY = (
    r"[pPaAtTsScCfFeE](?i:assword|asswd|assphrase|uthorization|oken|ecret|ookie|irflow_conn_\w+"
    r"|lient-key-data|(?:pi|ccess|ecret|rivate|ernet|igning|ncryption)[_\s-]?(?:access[_-]?)?key"
    r"(?:[_-]?id)?)"
)
_QUOTE = r"""\\*["']"""
_SCHEME = r"(?i:(?:bearer|basic|digest|token)\s+)?"
_NOTHING = r"""(?!(?:None|null|true|false|\*\*\*)(?![\w-]))"""
_VALUE = (
    r"""(?:\\+["'](?:(?!\\+["'])[^\n])+\\+["']|'[^'\n]+'|"(?:[^"\\\n]|\\.)+["]"""
    rf"""|{_NOTHING}{_SCHEME}[^\s,;'"\\)\]}}&]+)"""
)

_FORMS: tuple[tuple[re.Pattern[str], str], ...] = (
    # A private key in PEM, on lines of its own or with its line ends escaped.
    (
        re.compile(
            r"-----BEGIN [A-Z ]{0,20}PRIVATE KEY-----(?:(?:[\s>|]|\\[nr])*[\w+/=]{20,80})*"
            r"(?:(?:\s|\\[nr])*[\w+/=]{0,76}(?:\s|\\[nr])*-----END [A-Z ]{0,20}PRIVATE KEY-----)?"
        ),
        f"-----{MASK}-----",
    ),
    # A JWT; the header of any begins with {" in base64.
    (re.compile(r"eyJ[\w-]{8,}(?:\.[\w-]+)*"), MASK),
    # Whom a URL logs in: scheme://user:password@host.
    (re.compile(r"://[^\s/@]+@"), f"://{MASK}@"),
    # A setting: password=x, "token": "x", 'secret': 'x', Authorization: Bearer x.
    (re.compile(rf"""({_KEY})((?:{_QUOTE})?\s*(?:=>|[=:])\s*){_VALUE}"""), rf"\1\2{MASK}"),
    # An argument: --password x, ['--token', 'x'].
    (
        re.compile(rf"""(--(?:[\w-]*-)?{_KEY})((?:{_QUOTE},)?\s+){_VALUE}"""),
        rf"\1\2{MASK}",
    ),
    # An environment variable of a pod: name: DB_PASSWORD, value: x.
    (
        re.compile(
            rf"""([nN](?i:ame)(?:{_QUOTE})?\s*[:=]\s*(?:{_QUOTE})?\w*{_KEY}(?:{_QUOTE})?,?\s+"""
            rf"""(?:{_QUOTE})?[vV](?i:alue)(?:{_QUOTE})?\s*[:=]\s*){_VALUE}"""
        ),
        rf"\1{MASK}",
    ),
    (re.compile(r"([bB](?i:earer))\s+(?=[^\s\"']*\d)[\w.~+/=-]{6,}"), rf"\1 {MASK}"),
    # SQL, Airflow's simple auth manager, and libpq's password file.
    (re.compile(r"([pP](?i:assword)\s+)'[^'\n]+'"), rf"\1{MASK}"),
    (re.compile(r"([pP](?i:assword for) [^:\n]{1,80}:\s*)[^\s'\"]+"), rf"\1{MASK}"),
    (re.compile(r"(?m)^([\w.*-]+:(?:\d{2,5}|\*):[\w*-]+:[\w*-]+:)\S+$"), rf"\1{MASK}"),
    # Keys that their makers gave a form of their own: AWS, GitHub, GitLab, Slack, Google.
    (
        re.compile(
            r"(?:A(?:KI|SI)A[0-9A-Z]{16}|gh[pousr]_\w{36,}|github_pat_\w{22,}|glpat-[\w-]{20,}"
            r"|xox[abprs]-[\w-]{10,}|AIza[\w-]{35})"
        ),
        MASK,
    ),
)

_IS_SECRET = re.compile(r"""kind["']?:\s*["']?Secret\b""")
_SECRETS_DATA = (
    re.compile(r"""(?m)(^([ \t]*)(?:data|stringData):[ \t]*\n)(?:\2[ \t]+\S.*(?:\n|\Z))+"""),
    re.compile(r"""(["'](?:data|stringData)["']\s*:\s*)\{[^{}]*\}"""),
)


def redact(text: str, known: Iterable[str] = ()) -> str:
    """Hide tokens, passwords, keys and URLs' credentials in `text`, and all `known` values."""
    if values := _literally(tuple(known)):
        text = values.sub(MASK, text)
    if _IS_SECRET.search(text):
        text = _SECRETS_DATA[0].sub(rf"\1\2  {MASK}: {MASK}\n", text)
        text = _SECRETS_DATA[1].sub(rf'\1{{"{MASK}": "{MASK}"}}', text)
    for pattern, instead in _FORMS:
        text = pattern.sub(instead, text)
    return text


def first_line(error: Exception) -> str:
    """Return the first line of what an error says, without secrets; its name if it says nothing."""
    return redact((str(error).strip().splitlines() or [type(error).__name__])[0])


def excerpt(text: str, limit: int = CUT) -> str:
    """Hide secrets and cut the text to `limit` characters."""
    text = redact(text)
    return text if len(text) <= limit else text[: limit - 1] + "…"


def stream(
    read: Callable[[int], str], write: Callable[[str], object], known: Iterable[str] = ()
) -> None:
    """Copy a text of any length, redacted; in memory is never more than about a megabyte of it.

    It is cut only where no secret is: each piece is looked at with what follows it.
    """
    values = tuple(known)
    held = ""
    while piece := read(1 << 20):
        held += piece
        cut = _cut(held, len(held) - LONGEST, values)
        write(redact(held[:cut], values))
        held = held[cut:]
    write(redact(held, values))


def _cut(text: str, limit: int, known: tuple[str, ...]) -> int:
    """Return where to cut, at most at `limit`: at a line's end, or at least not in a secret."""
    if limit <= 0:
        return 0
    line = text.rfind("\n", max(0, limit - LONGEST), limit) + 1
    cut = line or limit
    begin = max(0, cut - LONGEST)
    around = text[begin : cut + LONGEST]
    patterns = [pattern for pattern, _ in _FORMS]
    if values := _literally(known):
        patterns.append(values)
    spans = [found.span() for pattern in patterns for found in pattern.finditer(around)]
    for start, end in sorted(spans, reverse=True):
        if begin + start < cut < begin + end:
            cut = begin + start
    return cut if cut or limit <= LONGEST else limit


@lru_cache(maxsize=16)
def _literally(known: tuple[str, ...]) -> re.Pattern[str] | None:
    """Return what finds the values, plain, as a part of a URL, and in base64."""
    found = set()
    for value in known:
        if not _A_WORD.fullmatch(value):
            encoded = base64.b64encode(value.encode()).decode()
            found |= {value, quote(value, safe=""), encoded.rstrip("=")}
    if not found:
        return None
    longest_first = sorted(found, key=len, reverse=True)
    return re.compile(f"(?:{'|'.join(map(re.escape, longest_first))})={{0,2}}")
