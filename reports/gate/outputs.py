"""The decision for its readers: a terminal, a pull request (Markdown), a CI server (JUnit)."""

import re
import shutil
import xml.etree.ElementTree as ElementTree
from collections import Counter
from collections.abc import Sequence
from itertools import accumulate
from typing import TextIO
from xml.etree.ElementTree import Element, SubElement

from rich.table import Table
from rich.text import Text

from reports.gate.decision import Decision, GateRow, Standing, Status
from reports.gate.glance import Glance
from reports.terminal import coloured, grid, rendered

LONGEST = 60_000
"""Characters; a comment on GitHub may have 65,536."""

_CELL = 1_000
_COLOURS: dict[Status | Standing, str] = {
    **dict.fromkeys(("fail", "not safe"), "red"),
    **dict.fromkeys(("unknown", "cannot tell"), "yellow"),
    **dict.fromkeys(("accepted", "accepted risks"), "cyan"),
    **dict.fromkeys(("pass", "safe"), "green"),
}
_SIGNS: dict[Status, str] = {"fail": "✗", "unknown": "?", "accepted": "~", "pass": "✓"}
_TAGS = {"fail": "failure", "unknown": "error", "accepted": "skipped"}
_HEAD = "| | check | subject | finding |\n| --- | --- | --- | --- |"


def write(decision: Decision, out: TextIO, quiet: bool = False) -> None:
    """Print the findings, what decides last and next to the answer; quiet: the answer alone."""
    colour = coloured(out)
    if not quiet:
        for glance in decision.glances:
            out.write(rendered(_glance(glance), colour=colour, width=_width()))
        out.write("\n" if decision.glances else "")
        table = grid(2)
        for row in reversed(decision.in_order):
            between = ": " if row.status == "pass" else "\n"
            shown = Text(row.status, style=_COLOURS[row.status])
            table.add_row(shown, row.check, Text(f"{row.subject}{between}{row.detail}"))
        out.write(f"{rendered(table, colour=colour, width=_width())}\n")
    answer = Text(decision.sentence, style=f"bold {_COLOURS[decision.standing]}")
    out.write(rendered(answer, colour=colour))


def _glance(glance: Glance) -> Table:
    """Lay out what is new, first, and what is known of one build."""
    table = grid(2)
    build = f"Airflow {glance.airflow}"
    for head, text in glance.lines:
        style = _COLOURS["fail" if glance.new else "pass"] if head == "new" else ""
        table.add_row(build, Text(head, style=style), Text(text))
        build = ""
    return table


def _width() -> int:
    return min(160, max(80, shutil.get_terminal_size((120, 24)).columns))


def markdown(decision: Decision) -> str:
    """Return a summary that is short enough for a comment: what decides first, the rest folded."""
    rows = decision.in_order
    loud = [row for row in rows if row.status != "pass"]
    quiet = [row for row in rows if row.status == "pass"]
    parts = [f"## Release gate: {decision.sentence}\n"]
    for glance in decision.glances:
        lines = "".join(f"- {head}: {_cell(text)}\n" for head, text in glance.lines)
        parts.append(f"Airflow {_cell(glance.airflow)}\n\n{lines}")
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


def _table(rows: Sequence[GateRow], most: int) -> str:
    """Return a table of as many rows as there is room for, and say how many are left out."""
    lines = [
        f"| {_SIGNS[row.status]} {row.status} | {row.check} | {_cell(row.subject)} "
        f"| {_cell(row.detail)} |"
        for row in rows
    ]
    lengths = accumulate(len(line) + 1 for line in lines)
    shown = [line for line, length in zip(lines, lengths, strict=True) if length <= most]
    left = len(lines) - len(shown)
    more = f"\n{left} more are in gate.json.\n" if left else ""
    return "\n".join([_HEAD, *shown]) + f"\n{more}"


def _cell(text: str) -> str:
    """Keep a text inside its cell, and no markup of its own in it."""
    short = text if len(text) <= _CELL else f"{text[:_CELL]}…"
    escaped = re.sub(r"([\\`*_|\[\]#])", r"\\\1", short)
    return escaped.replace("<", "&lt;").replace(">", "&gt;")


def junit(decision: Decision) -> str:
    """Return JUnit XML: a violation is a failure, what is unknown an error.

    What is accepted counts as skipped: neither good nor bad, and seen.
    """
    root = Element("testsuites", {"name": "airflow-ha-chaos gate", **_counts(decision.checks)})
    for check in dict.fromkeys(row.check for row in decision.checks):
        rows = [row for row in decision.checks if row.check == check]
        skipped = sum(row.status == "accepted" for row in rows)
        counts = {**_counts(rows), "skipped": str(skipped)}
        suite = SubElement(root, "testsuite", {"name": check, **counts})
        for row in rows:
            _case(suite, row)
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def _counts(rows: Sequence[GateRow]) -> dict[str, str]:
    counted = Counter(row.status for row in rows)
    return {
        "tests": str(len(rows)),
        "failures": str(counted["fail"]),
        "errors": str(counted["unknown"]),
        "time": "0",
    }


def _case(suite: Element, row: GateRow) -> None:
    names = {"classname": f"gate.{row.check}", "name": row.subject, "time": "0"}
    case = SubElement(suite, "testcase", names)
    if row.status == "pass":
        SubElement(case, "system-out").text = row.detail
    else:
        kind = {} if row.status == "accepted" else {"type": row.status}
        SubElement(case, _TAGS[row.status], {"message": row.detail, **kind})
