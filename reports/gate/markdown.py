"""The decision as Markdown, for a pull request: what decides first, the rest folded away."""

from collections.abc import Sequence

from reports.gate.decision import Decision, Row, Status

LONGEST = 60_000
"""Characters; a comment on GitHub may have 65,536."""

SIGNS: dict[Status, str] = {"fail": "✗", "unknown": "?", "accepted": "~", "pass": "✓"}
_HEAD = "| | check | subject | finding |\n| --- | --- | --- | --- |"
_CELL = 1_000


def markdown(decision: Decision) -> str:
    """Return the summary, short enough for a comment; gate.json has everything."""
    rows = decision.told_in_order
    loud = [_line(row) for row in rows if row.status != "pass"]
    quiet = [_line(row) for row in rows if row.status == "pass"]
    parts = [f"## Release gate: {decision.sentence}\n"]
    if decision.risks:
        parts.append(f"Accepted risks: {', '.join(map(_cell, decision.risks))}.\n")
    if loud:
        parts.append(_table(loud, LONGEST * 2 // 3))
    if quiet:
        folded = _table(quiet, LONGEST // 4)
        parts.append(f"<details><summary>{len(quiet)} passed</summary>\n\n{folded}\n</details>\n")
    policy = decision.policy
    parts.append(f"Policy `{policy.path}`, sha256 `{policy.sha256[:12]}`, {decision.today}.")
    return "\n".join(parts) + "\n"


def _table(lines: Sequence[str], most: int) -> str:
    """Return a table of as many lines as there is room for, and say how many are left out."""
    shown: list[str] = []
    length = 0
    for line in lines:
        length += len(line) + 1
        if length > most:
            break
        shown.append(line)
    left = len(lines) - len(shown)
    more = f"\n{left} more are in gate.json.\n" if left else ""
    return "\n".join([_HEAD, *shown]) + f"\n{more}"


def _line(row: Row) -> str:
    sign = f"{SIGNS[row.status]} {row.status}"
    return f"| {sign} | {row.check} | {_cell(row.subject)} | {_cell(row.detail)} |"


def _cell(text: str) -> str:
    """Keep a text inside its cell, and no markup of its own in it."""
    short = text if len(text) <= _CELL else f"{text[:_CELL]}…"
    for sign in "\\`*_|[]#":
        short = short.replace(sign, f"\\{sign}")
    return short.replace("<", "&lt;").replace(">", "&gt;")
