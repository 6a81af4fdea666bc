"""Puts together what user code printed, which Airflow's workers log as an object of JSON a line.

    {"timestamp": .., "event": "password: |", "chan": "stdout"}      password: |
    {"timestamp": .., "event": "  secret", "chan": "stdout"}    ->     secret

What a line holds alone does not always tell that it is secret.
"""

import json
import re
from collections.abc import Callable, Iterator
from difflib import SequenceMatcher

from common.secret_urls import MASK

_PRINTED = re.compile(
    r"""(?m)^(\{[^\n]{0,300}?"event":[ ]?)("(?:[^"\\\n]|\\.)*+")"""
    r"""([^\n]{0,400}std(?:out|err)"[^\n]*)$"""
)
_MOST = 2000
"""Lines that are looked at together."""


def hide_printed(text: str, hide: Callable[[str], str]) -> str:
    """Have `hide` mask what was printed in the lines of a log, each where it stands."""
    if 'stdout"' not in text and 'stderr"' not in text:
        return text
    parts, end = [], 0
    for lines in _groups(text):
        if len(lines) == 1 and "\\" not in lines[0][2]:
            continue  # alone it is like any other line
        old = [_text(line[2]) for line in lines]
        new = hide("\n".join(old)).split("\n")
        for line, was, masked in zip(lines, old, _aligned(old, new), strict=True):
            if masked != was:
                parts += [text[end : line.start(2)], json.dumps(masked, ensure_ascii=False)]
                end = line.end(2)
    return "".join([*parts, text[end:]]) if parts else text


def _text(quoted: str) -> str:
    try:
        return str(json.loads(quoted, strict=False)).replace("\n", " ")
    except ValueError:
        return quoted[1:-1]


def _groups(text: str) -> Iterator[list[re.Match[str]]]:
    """Yield the lines that were printed one after the other."""
    group: list[re.Match[str]] = []
    for found in _PRINTED.finditer(text):
        if group and (found.start() != group[-1].end() + 1 or len(group) == _MOST):
            yield group
            group = []
        group.append(found)
    if group:
        yield group


def _aligned(old: list[str], new: list[str]) -> list[str]:
    """Return as many lines as there were, where what is masked may have become fewer."""
    if len(old) == len(new):
        return new
    lines = []
    for _, i, j, k, m in SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        lines += new[k:m] if j - i == m - k else [MASK] * (j - i)
    return lines
