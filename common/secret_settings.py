"""Hides what secrets' names are set to in text: settings, arguments, variables of pods."""

import re

from common.secret_names import is_harmless_variable, is_secret
from common.secret_urls import CLOSES, MASK


def lower_case(text: str) -> str:
    """Return the text in lower case, each character where it was; what is not ASCII is lost."""
    if not text.isascii():
        text = text.encode("ascii", "replace").decode("ascii")
    return text.lower()


_QUOTE = r"""\\{0,8}["']"""
_SETTING = re.compile(
    rf"""-{{0,2}}([A-Za-z_][\w.$-]{{0,79}}(?:[ ][kK]ey)?)(?:{_QUOTE})?"""
    r"""[ \t]*(?:=>|[=:])(?!//)[ \t]*"""
)
_ARGUMENT = re.compile(
    rf"""--?([A-Za-z][\w-]{{0,60}})(?:(?:{_QUOTE})?,\s{{0,80}}"""
    r"""|[ \t]{0,40}\n[ \t]{0,80}-[ \t]{1,40}|[ \t]{1,80})(?![-|>&])"""
)
_PLAIN = re.compile(
    # What is no secret, or names one without holding it.
    r"""(?:None|null|true|false|~|["']{2}|\\"\\"|\*\*\*|\{\}|\[\]|\d{1,2}s)(?![\w*-])"""
    r"""|["']?(?:\$\{\w+\}|\$\(\w+\)|\{\{-?\s*[\w.$]+\s*-?\}\}|%\(\w+\)s|<[\w -]+>)["']?(?![\w@])"""
    r"""|[|>][-+0-9]{0,2}[ \t]*(?=\n|\Z)|\\{0,8}["']\*\*\*\\{0,8}["']"""
    r"""|\{\s*["']?(?:secretName|name|key|secretKeyRef|valueFrom)\b""",
    re.IGNORECASE,
)
_PROSE = re.compile(
    # The password: not accepted. What has a line of its own is taken at its word.
    r"(?:the|is|are|was|were|has|must|not|no|missing|required|invalid|unknown|empty|expired)"
    r"(?=[\s.,;]|$)"
)
_QUOTED = re.compile(
    # JSON within JSON, however often it is escaped; then text in quotes that are escaped, or not.
    r"""[bBrRuUfF]{0,2}(?:"[{\[]\s{0,9}\\{1,8}["'][^\n]{0,4096}?[}\]]"(?=[\s,}\]'")]|$)"""
    r"""|(\\{1,8}["'])(?:(?!\1)[^\n]){1,4096}\1"""
    r"""|'(?:[^'\\\n]|\\.|''){1,8192}'(?!\w)|"(?:[^"\\\n]|\\.){1,8192}")"""
)
_GROUP = re.compile(r"\{[^{}\n]{1,4096}\}|\[[^\[\]\n]{1,4096}\]")
_UNCLOSED = re.compile(r"""\\*["'][^\n]+""")
_BARE = re.compile(
    r"""(?:[^\s,;&"'()\[\]{}\\<>]++"""
    r"""|;(?!\s|$|["']|[\w.$-]{1,60}[=:]"""
    r"""|(?:User|Initial|Data|Integrated|Persist|Trust)[\w ]{1,40}=)"""
    r"""|[,&](?!\s|$|["']|[\w.$-]{1,60}[=:])"""
    rf"""|["'](?!{CLOSES})"""
    r"""|[)\]}>](?!["'\s,;:.)\]}>]|$)|[(\[{<]"""
    r"""|\\{1,8}[ ]|\\(?:[^nrt"'\s]|["'](?![\s,;:)\]}]|$)|[ ]))+"""
)
_NAMES = (
    *("pass", "pwd", "token", "secret", "cookie", "credential", "authorization", "key", "dsn"),
    *("webhook", "flow_conn_", "flow_var_", "_kwargs", "broker_url", "result_backend", "_auth"),
    *("sql_alchemy_conn", "nectionstr", "nection_str", "auth_h", "bearer"),
)
_LONGEST_NAME = 80
_OF_A_NAME = re.compile(r"[\w.$-]*")
_FIRST_WORD = re.compile(r"[A-Za-z]+ \Z")
_LINE_BEGINS = re.compile(r"[ \t]*(?:-[ \t]+|export[ \t]+|set[ \t]+)?")
_MORE = re.compile(r"""\s[\w.$-]{1,60}(?:=|:(?=\s|$))""")
_HEADERS = ("authorization", "cookie")
_TO_QUOTE = re.compile(r"""[^\n"']+""")
_BLOCK = re.compile(r"[|>][-+0-9]{0,2}[ \t]*\n")


def _value_end(text: str, at: int, name: str, *, begins: bool, quote: str = "") -> int:
    """Return where the value that begins `at` ends; `at` where there is none to hide.

    `begins`: the line begins with the name, as in YAML, INI files and dotenv, where a value has
    the rest of its line; or the text in the `quote` that stands before the name.
    """
    if at >= len(text) or text[at] == "\n" or _PLAIN.match(text, at):
        return at
    if not begins and _PROSE.match(text, at):
        return at
    if found := _QUOTED.match(text, at) or _UNCLOSED.match(text, at) or _GROUP.match(text, at):
        return found.end()
    if name.lower().endswith(_HEADERS) and (found := _TO_QUOTE.match(text, at)):
        return found.end()
    if begins:
        line = text.find("\n", at)
        rest = text[at : len(text) if line < 0 else line].partition(quote or "\n")[0]
        if not _MORE.search(rest):
            return at + len(rest.rstrip())
    found = _BARE.match(text, at)
    return found.end() if found else at


def _innocent(name: str, value: str) -> bool:
    """Tell whether what a secret's name is set to is a count, or where a file is."""
    short = name.lower()
    if short in ("pwd", "oldpwd"):  # a shell's, which is a folder
        return value.startswith("/")
    if short.endswith("pass") and value.isdigit():
        return len(value) < 4
    return (
        short.endswith(("credentials", "cookie"))
        and re.fullmatch(r"(?:/[\w.-]+){2,}", value) is not None
    )


def hide_settings(text: str) -> str:
    """Mask what a secret's name is set to; it is looked for from the words that such names have."""
    parts, end = [], 0
    for hit in _hits(lower_case(text)):
        if hit < end:
            continue
        start = _name_begins(text, hit)
        for pattern in (_SETTING, _ARGUMENT):
            found = pattern.match(text, start)
            if not found or start < end or not is_secret(found[1]):
                continue
            quote = _text_begins(text, start, found.end(1))
            begins = pattern is _SETTING and bool(quote or _begins_line(text, start))
            stop = _value_end(text, found.end(), found[1], begins=begins, quote=quote)
            if pattern is _ARGUMENT and text[stop : stop + 1] == ":":
                continue  # {"event": "--password", "logger": ..}
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
    before = _OF_A_NAME.match(text[max(0, hit - _LONGEST_NAME) : hit][::-1])
    assert before is not None
    start = hit - before.end()
    if (
        start == hit
        and text[hit : hit + 3].lower() == "key"
        and (two := _FIRST_WORD.search(text, max(0, hit - _LONGEST_NAME), hit))
    ):
        start = two.start()
    return start + 1 if text[start - 1 : start] == "\\" and text[start] in "nrt" else start


def _masked(text: str, begin: int, stop: int) -> str:
    """Return what stands in a value's place; what JSON holds stays JSON."""
    quote = text[begin]
    return f"{quote}{MASK}{quote}" if quote in "\"'" and text[stop - 1] == quote else MASK


def _begins_line(text: str, at: int) -> bool:
    """Tell whether a name is the first of its line, but for a dash or `export`, some way in."""
    far = max(0, at - _LONGEST_NAME)
    line = text.rfind("\n", far, at) + 1
    return (line > 0 or far == 0) and _LINE_BEGINS.fullmatch(text, line, at) is not None


def _text_begins(text: str, start: int, end: int) -> str:
    """Return the quote that a name begins a text in, as in 'password: x y'; empty for none."""
    before, after = text[start - 1 : start], text[end : end + 1]
    return before if before and before in "\"'" and after not in ("", before, "\\") else ""


_SCALAR = re.compile(
    r"""(?m)^([ \t]*)((?:[^\n]{0,200}[\s("'])?([\w.$/-]{1,80})["']?:"""
    r"""[ \t]*[|>][-+0-9]{0,2}[ \t]*\n)"""
    r"""((?:\1[ \t]+\S[^\n]*(?:\n|\Z)|[ \t]*\n)+)"""
)


def hide_blocks(text: str) -> str:
    """Mask YAML's block scalars: `password: |` and the indented lines below."""

    def mask(found: re.Match[str]) -> str:
        if not is_secret(found[3]):
            return found[0]
        return f"{found[1]}{found[2]}{found[1]}  {MASK}\n"

    return _SCALAR.sub(mask, text)


_PAIR = re.compile(
    rf"""\bname(?:{_QUOTE})?[ \t]*[:=][ \t]*(?:{_QUOTE})?([A-Za-z_][\w.-]{{1,100}})(?:{_QUOTE})?"""
    rf"""[ \t]*(?:,\s*|\n[ \t]*)(?:{_QUOTE})?value(?:{_QUOTE})?[ \t]*[:=][ \t]*"""
)
_TURNED = re.compile(
    r"""(?m)(^[ \t]*(?:-[ \t]+)?value:[ \t]*)([^\n]+)"""
    r"""(\n[ \t]+name:[ \t]*["']?([A-Za-z_]\w{1,100}))"""
)
_VARIABLE = re.compile(r"[A-Z][A-Z0-9_]{2,}")


def _may_be_secret(variable: str) -> bool:
    if is_secret(variable):
        return True
    return bool(_VARIABLE.fullmatch(variable)) and not is_harmless_variable(variable)


def hide_variables(text: str) -> str:
    """Mask the literal values of a pod's environment, but those known to be harmless."""
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
            stop = _value_end(
                text, at, found[1], begins="\n" in found[0] and text[at : at + 1] not in "\"'"
            )
            parts += [text[end:at], _masked(text, at, stop) if stop > at else ""]
        end = stop
    text = "".join([*parts, text[end:]])

    def turned(found: re.Match[str]) -> str:
        return f"{found[1]}{MASK}{found[3]}" if _may_be_secret(found[4]) else found[0]

    return _TURNED.sub(turned, text)


_EXTRA = re.compile(
    rf"""(({_QUOTE})extra(?:_dejson)?{_QUOTE}\s*:\s*)(\{{(?:[^{{}}]|\{{[^{{}}]{{0,4000}}\}}){{0,4000}}+\}})?"""
)


def hide_extra(text: str) -> str:
    """Mask the extra of Airflow's connections in JSON: its keys are any provider's own."""
    parts, end = [], 0
    for found in _EXTRA.finditer(text):
        stop = found.end() if found[3] else _value_end(text, found.end(), "extra", begins=False)
        if stop > found.end(1):
            parts += [text[end : found.end(1)], f"{found[2]}{MASK}{found[2]}"]
            end = stop
    return "".join([*parts, text[end:]])
