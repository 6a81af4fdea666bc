"""The decision as JUnit XML, which every CI server can show: a test case for each finding."""

import xml.etree.ElementTree as ElementTree
from collections import Counter
from xml.etree.ElementTree import Element, SubElement

from reports.gate.decision import Decision, Row

_TAGS = {"fail": "failure", "unknown": "error", "accepted": "skipped"}


def junit(decision: Decision) -> str:
    """Return the document: a violation is a failure, what cannot be told an error.

    What is accepted counts as skipped: neither good nor bad, and seen.
    """
    root = Element("testsuites", {"name": "airflow-ha-chaos gate", **_counts(decision.checks)})
    for check in dict.fromkeys(row.check for row in decision.checks):
        rows = tuple(row for row in decision.checks if row.check == check)
        suite = SubElement(root, "testsuite", {"name": check, **_counts(rows), "skipped": "0"})
        suite.set("skipped", str(sum(row.status == "accepted" for row in rows)))
        for row in rows:
            _case(suite, row)
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def _counts(rows: tuple[Row, ...]) -> dict[str, str]:
    counted = Counter(row.status for row in rows)
    return {
        "tests": str(len(rows)),
        "failures": str(counted["fail"]),
        "errors": str(counted["unknown"]),
        "time": "0",
    }


def _case(suite: Element, row: Row) -> None:
    case = SubElement(suite, "testcase", {"classname": f"gate.{row.check}", "name": row.subject})
    case.set("time", "0")
    if tag := _TAGS.get(row.status):
        told = SubElement(case, tag, {"message": row.detail})
        if tag != "skipped":
            told.set("type", row.status)
    else:
        SubElement(case, "system-out").text = row.detail
