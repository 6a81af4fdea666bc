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

from common.secret_names import is_harmless_variable, is_secret

MASK = "***"

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
    lower = _lower(text)
    for form in FORMS:
        if form.reach == WHOLE:
            if form.words[0] in lower and (new := form.hide(text)) != text:
                text, lower = new, _lower(new)
            continue
        parts, end = [], 0
        for begin, stop in _lines(lower, form):
            old = text[begin:stop]
            if (new := form.hide(old)) != old:
                parts += [text[end:begin], new]
                end = stop
        if parts:
            text = "".join([*parts, text[end:]])
            lower = _lower(text)
    return text


def _lower(text: str) -> str:
    """Return the text in lower case, each character where it was; what is not ASCII is lost."""
    if not text.isascii():
        text = text.encode("ascii", "replace").decode("ascii")
    return text.lower()


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


# --- what is set: password=x, "token": "x", 'secret': 'x', Authorization: Bearer x, key: | ...

_QUOTE = r"""\\*["']"""
_CLOSES = r"""[\s,;:)\]}>\\]|$"""
_SETTING = re.compile(
    rf"""-{{0,2}}([A-Za-z_][\w.$-]{{0,79}}(?:[ ][kK]ey)?)(?:{_QUOTE})?"""
    r"""[ \t]*(?:=>|[=:])(?!//)[ \t]*"""
)
_ARGUMENT = re.compile(
    rf"""--?([A-Za-z][\w-]{{0,60}})(?:(?:{_QUOTE})?,\s*|\s*\n\s*-\s+|[ \t]+)(?![-|>&])"""
)
_PLAIN = re.compile(
    # What is no secret, or names one without holding it.
    r"""(?:None|null|true|false|~|["']{2}|\\"\\"|\*\*\*|\{\}|\[\]|\d{1,2}s)(?![\w*-])"""
    r"""|["']?(?:\$\{\w+\}|\$\(\w+\)|\{\{-?\s*[\w.$]+\s*-?\}\}|%\(\w+\)s|<[\w -]+>)["']?(?![\w@])"""
    r"""|[|>][-+0-9]{0,2}[ \t]*(?=\n|\Z)"""
    r"""|\{\s*["']?(?:secretName|name|key|secretKeyRef|valueFrom)\b""",
    re.IGNORECASE,
)
_QUOTED = re.compile(
    r"""[bBrRuUfF]{0,2}(?:(\\+["'])(?:(?!\1)[^\n]){1,4096}\1"""
    r"""|'(?:[^'\\\n]|\\.|''){1,8192}'(?!\w)|"(?:[^"\\\n]|\\.){1,8192}")"""
)
_GROUP = re.compile(r"\{[^{}\n]{1,4096}\}|\[[^\[\]\n]{1,4096}\]")
_UNCLOSED = re.compile(r"""\\*["'][^\n]+""")
_BARE = re.compile(
    r"""(?:[^\s,;&"'()\[\]{}\\<>]++"""
    r"""|;(?!\s|$|["']|[\w.$ -]{1,60}[=:])|[,&](?!\s|$|["']|[\w.$-]{1,60}[=:])"""
    rf"""|["'](?!{_CLOSES})"""
    r"""|[)\]}>](?!["'\s,;:.)\]}>]|$)|[(\[{<]"""
    r"""|\\(?:[^nrt"'\s]|["'](?![\s,;:)\]}]|$)|[ ]))+"""
)
_NAMES = (
    *("pass", "pwd", "token", "secret", "cookie", "credential", "authorization", "key", "dsn"),
    *("webhook", "flow_conn_", "flow_var_", "_kwargs", "broker_url", "result_backend", "_auth"),
    *("sql_alchemy_conn", "nectionstr", "nection_str", "auth_h", "bearer", "sharedacc", "x-amz-"),
)
_LONGEST_NAME = 80
_NAME_SO_FAR = re.compile(r"[\w.$-]*\Z")
_FIRST_WORD = re.compile(r"[A-Za-z]+ \Z")
_LINE_BEGINS = re.compile(r"[ \t]*(?:-[ \t]+|export[ \t]+|set[ \t]+)?")
_MORE = re.compile(r"""\s[\w.$-]{1,60}(?:=|:(?=\s|$))""")
_HEADERS = ("authorization", "cookie")
_TO_QUOTE = re.compile(r"""[^\n"']+""")
_BLOCK = re.compile(r"[|>][-+0-9]{0,2}[ \t]*\n")


def _value_end(text: str, at: int, name: str, *, begins: bool) -> int:
    """Return where the value that begins `at` ends; `at` where there is none to hide.

    `begins`: the line begins with the name, as in YAML, INI files and dotenv, where a value has
    the rest of its line.
    """
    if at >= len(text) or text[at] == "\n" or _PLAIN.match(text, at):
        return at
    if found := _QUOTED.match(text, at) or _UNCLOSED.match(text, at) or _GROUP.match(text, at):
        return found.end()
    if name.lower().endswith(_HEADERS) and (found := _TO_QUOTE.match(text, at)):
        return found.end()
    line = text.find("\n", at)
    line = len(text) if line < 0 else line
    if begins and not _MORE.search(text, at, line):
        return len(text[:line].rstrip())
    found = _BARE.match(text, at)
    return found.end() if found else at


def _innocent(name: str, value: str) -> bool:
    """Tell whether what a secret's name is set to is a count, or where a file is."""
    short = name.lower()
    if short in ("pwd", "oldpwd"):  # a shell's, which is a folder
        return value.startswith("/")
    if short.endswith("pass") and value.isdigit():
        return len(value) < 4
    return short.endswith(("credentials", "cookie")) and re.fullmatch(r"(?:/[\w.-]+){2,}", value) is not None


def _hide_settings(text: str) -> str:
    """Mask what a secret's name is set to; it is looked for from the words that such names have."""
    parts, end = [], 0
    for hit in _hits(_lower(text)):
        if hit < end:
            continue
        start = _name_begins(text, hit)
        for pattern in (_SETTING, _ARGUMENT):
            found = pattern.match(text, start)
            if not found or start < end or not is_secret(found[1]):
                continue
            begins = pattern is _SETTING and _begins_line(text, start)
            stop = _value_end(text, found.end(), found[1], begins=begins)
            if stop > found.end() and not _innocent(found[1], text[found.end() : stop]):
                parts += [text[end : found.end()], _masked(text, found.end(), stop)]
                end = stop
                break
    return "".join([*parts, text[end:]]) if parts else text


def _hits(lower: str) -> list[int]:
    """Return where words of secrets' names stand, in order."""
    found = []
    for word in _NAMES:
        at = lower.find(word)
        while at >= 0:
            found.append(at)
            at = lower.find(word, at + len(word))
    return sorted(found)


def _name_begins(text: str, hit: int) -> int:
    """Return where the name begins that has a word of its own at `hit`: `the fernet key`, too."""
    before = _NAME_SO_FAR.search(text, max(0, hit - _LONGEST_NAME), hit)
    assert before is not None
    start = before.start()
    if start == hit and text[hit : hit + 3].lower() == "key" and (two := _FIRST_WORD.search(text, max(0, hit - _LONGEST_NAME), hit)):
        start = two.start()
    return start + 1 if text[start - 1 : start] == "\\" and text[start] in "nrt" else start


def _masked(text: str, begin: int, stop: int) -> str:
    """Return what stands in a value's place; what JSON holds stays JSON."""
    quote = text[begin]
    return f"{quote}{MASK}{quote}" if quote in "\"'" and text[stop - 1] == quote else MASK


def _begins_line(text: str, at: int) -> bool:
    line = text.rfind("\n", 0, at) + 1
    return _LINE_BEGINS.fullmatch(text, line, at) is not None


_SCALAR = re.compile(
    r"""(?m)^([ \t]*)((?:-[ \t]+)?["']?([\w.$/-]{1,80})["']?:[ \t]*[|>][-+0-9]{0,2}[ \t]*\n)"""
    r"""((?:\1[ \t]+\S[^\n]*(?:\n|\Z)|[ \t]*\n)+)"""
)


def _hide_blocks(text: str) -> str:
    """Mask YAML's block scalars: `password: |` and the indented lines below."""

    def mask(found: re.Match[str]) -> str:
        if not is_secret(found[3]):
            return found[0]
        return f"{found[1]}{found[2]}{found[1]}  {MASK}\n"

    return _SCALAR.sub(mask, text)


# --- the environment of a pod: name: DB_PASSWORD, value: x

_PAIR = re.compile(
    rf"""\bname(?:{_QUOTE})?[ \t]*[:=][ \t]*(?:{_QUOTE})?([A-Za-z_][\w.-]{{1,100}})(?:{_QUOTE})?"""
    rf"""[ \t]*(?:,\s*|\n[ \t]*)(?:{_QUOTE})?value(?:{_QUOTE})?[ \t]*[:=][ \t]*"""
)
_TURNED = re.compile(
    r"""(?m)(^[ \t]*(?:-[ \t]+)?value:[ \t]*)([^\n]+)(\n[ \t]+name:[ \t]*["']?([A-Za-z_]\w{1,100}))"""
)
_VARIABLE = re.compile(r"[A-Z][A-Z0-9_]{2,}")


def _may_be_secret(variable: str) -> bool:
    if is_secret(variable):
        return True
    return bool(_VARIABLE.fullmatch(variable)) and not is_harmless_variable(variable)


def _hide_variables(text: str) -> str:
    parts, end = [], 0
    for found in _PAIR.finditer(text):
        at = found.end()
        if found.start() < end or not _may_be_secret(found[1]):
            continue
        if block := _BLOCK.match(text, at):
            indent = len(found[0].rpartition("\n")[2]) - len(found[0].rpartition("\n")[2].lstrip())
            rest = re.compile(rf"(?:[ \t]{{{indent + 1},}}\S[^\n]*(?:\n|\Z)|[ \t]*\n)+")
            body = rest.match(text, block.end())
            stop = body.end() if body else block.end()
            parts += [text[end:at], f"{MASK}\n"]
        else:
            stop = _value_end(text, at, found[1], begins="\n" in found[0] and text[at : at + 1] not in "\"'")
            parts += [text[end:at], _masked(text, at, stop) if stop > at else ""]
        end = stop
    text = "".join([*parts, text[end:]])

    def turned(found: re.Match[str]) -> str:
        return f"{found[1]}{MASK}{found[3]}" if _may_be_secret(found[4]) else found[0]

    return _TURNED.sub(turned, text)


# --- URLs: whom they log in, and those whose path is the secret

_SCHEME = re.compile(r"([A-Za-z][\w+.-]{0,40}):\\?/\\?/")
_TOKEN = re.compile(rf"""(?:[^\s"'<>`]{{1,4000}}+|["'](?!{_CLOSES})){{0,400}}+""")
_PLACE = re.compile(
    r"(?:[\w.*-]*|\[[0-9A-Fa-f:.%]*\])(?::(?:\d{0,5}|port|PORT|[%{$<*].*))?(?:,[\w.-]+(?::\d{0,5})?)*[.,;:)\]}|]*"
)
_TEMPLATE = re.compile(r"\{.*|\$.*|%s.*|<.*|\*\*\*.*|USER:PASSWORD|git|:memory:")
_WITH_PATHS = re.compile(r"(?i)https?|wss?|s3[an]?|gs|file|hdfs|oci|docker(?:-pullable)?|containerd|k8s")
_DIGEST = re.compile(r"@(?=sha256:)")
_HOOKS = re.compile(r"(?i)(?:^|[.-])(?:web)?hooks?(?:[.-]|$)")
_HOOK = re.compile(
    r"(?i)(?:(?:^|/)(?:webhooks?\w{0,2}|services/T\w{5,20}|hooks(?=/\w{16,}(?:[/?]|$)))/|(?:^|/)bot\d+:)"
)
_SIGNED = re.compile(
    r"(?i)([?&;](?:amp;)?(?:sig|signature|x-(?:amz|goog)-(?:signature|credential|security-token)"
    r"|(?:key|code)(?==[^&\s]{16})|sv-token)=)[^&\s\"'#;]+"
)


def _hide_urls(text: str) -> str:
    parts, end = [], 0
    for found in _SCHEME.finditer(text):
        at = found.end()
        if at < end:
            continue
        token = _TOKEN.match(text, at)
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


# --- command lines

_COMMANDS = tuple(
    re.compile(pattern)
    for pattern in (
        # curl -u user:x; docker run -u 1000:1000 is none.
        r"""((?:^|[\s"'])(?:-u|-U|--user|--proxy-user)(?:[ \t=]+|["'],[ \t]*)?["']?(?!\d+:\d+\b)[^\s:"'/]{1,64}:)"""
        r"""[^\s"']+""",
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
_BODY = re.compile(r"(?:\\[nr])?[A-Za-z0-9+/=_]{16,}(?:\\[nr][A-Za-z0-9+/=_]{0,80})*")
_MOST_LINES = 400


def _hide_private_keys(text: str) -> str:
    """Mask private keys in PEM, on lines of their own, after a log's prefix, or escaped."""
    parts, end = [], 0
    while found := _BEGIN.search(text, end):
        parts += [text[end : found.start()], f"-----{MASK}-----"]
        if whole := _WHOLE.match(text, found.end()):
            end = whole.end()
            continue
        end = found.end()
        for number in range(_MOST_LINES):
            stop = text.find("\n", end) + 1 or len(text)
            line = text[end:stop]
            if not line or (number and "-----END" not in line and not _BODY.search(line)):
                break
            parts.append(_BODY.sub(MASK, line))
            end = stop
            if "-----END" in line:
                break
    return "".join([*parts, text[end:]])


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

_IN_SQL = re.compile(r"([pP](?i:assword)\s+)'(?:[^'\n]|'')+'")
_SHOWN = re.compile(r"([pP]assword for [^:\n]{1,80}:\s*)[^\s'\"]+")
_NETRC = re.compile(r"(\blogin\s+\S+\s+(?:account\s+\S+\s+)?password\s+)\S+")


def _hide_passwords(text: str) -> str:
    for pattern in (_IN_SQL, _SHOWN, _NETRC):
        text = pattern.sub(rf"\1{MASK}", text)
    return text


_IS_SECRET = re.compile(r"""kind\\*["']?:\s*\\*["']?Secret\b""")
_SECRETS_YAML = re.compile(
    r"""(?m)(^([ \t]*)(?:data|stringData):[ \t]*\n)(?:\2[ \t]+\S.*(?:\n|\Z))+"""
)
_SECRETS_JSON = re.compile(r"""((\\*["'])(?:data|stringData)\\*["']\s*:\s*)\{[^{}]*\}""")


def _hide_secrets(text: str) -> str:
    """Mask what the Secrets of Kubernetes hold."""
    if not _IS_SECRET.search(text):
        return text
    text = _SECRETS_YAML.sub(rf"\1\2  {MASK}: {MASK}\n", text)
    return _SECRETS_JSON.sub(lambda f: f"{f[1]}{{{f[2]}{MASK}{f[2]}: {f[2]}{MASK}{f[2]}}}", text)


_EXTRA = re.compile(rf"""({_QUOTE}extra(?:_dejson)?{_QUOTE}\s*:\s*)(\{{(?:[^{{}}]|\{{[^{{}}]*\}})*\}})?""")


def _hide_extra(text: str) -> str:
    """Mask the extra of Airflow's connections in JSON: its keys are any provider's own."""
    parts, end = [], 0
    for found in _EXTRA.finditer(text):
        stop = found.end() if found[2] else _value_end(text, found.end(), "extra", begins=False)
        if stop > found.end(1):
            parts += [text[end : found.end(1)], f'"{MASK}"']
            end = stop
    return "".join([*parts, text[end:]])


FORMS = (
    Form(("-----begin",), _hide_private_keys, LONGEST),
    Form(("secret",), _hide_secrets, WHOLE),
    # A JWT; the header of any begins with {" in base64.
    Form(("eyj",), _by(r"eyJ[\w+/-]{8,}={0,2}(?:\.[\w-]+)*")),
    Form(("://", ":\\/\\/"), _hide_urls),
    Form(("%3a%2f%2f",), _by(r"(?i)(%3a%2f%2f)[^\s&]{1,2000}(%40)", rf"\1{MASK}\2")),
    Form(("oi8v", "ovl", "6ly", "ls0tls1c"), _hide_base64),
    Form(("conn_type",), _hide_extra),
    Form(("value",), _hide_variables, 200, 120),
    Form((": |", ": >"), _hide_blocks, LONGEST),
    Form(("",), _hide_settings, WHOLE),
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
        _by(r"(?m)^((?:[\w.*-]|\\:){1,253}:(?:\d{2,5}|\*):[\w*-]+:[\w*-]+:)\S+$", rf"\1{MASK}"),
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
