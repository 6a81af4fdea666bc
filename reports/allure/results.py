"""Shapes a test's result for Allure: its names, where it ran, what was found, whom it concerns."""

from collections.abc import Iterator
from datetime import datetime
from hashlib import md5
from typing import Any

from common.redaction import excerpt, redact
from reports.allure.attempts import Attempt, Raw
from reports.allure.findings import LABEL, Finding, issue_link
from reports.records import Outcome

ENVIRONMENT = "environment"

_STATUS: dict[Outcome, str] = {
    "passed": "passed",
    "failed": "failed",
    "broken": "broken",
    "skipped": "skipped",
    "xfailed": "skipped",
    "crashed": "broken",
}
UNKNOWN = "unknown"
"""Allure's word for a result that does not say how its test ended."""

_RANKS = ("skipped", "passed", UNKNOWN, "broken", "failed")
_OURS = ("airflow", "lab", "schedulers")
_NO_CONCERN = ("host", "thread", "framework", "language")


def identity(text: str) -> str:
    """Return Allure's hash of a name; it is no protection of anything."""
    return md5(text.encode(), usedforsecurity=False).hexdigest()


def test_case(attempt: Attempt) -> str:
    """Return what names the test in all environments, so that Allure shows them side by side."""
    return identity(attempt.name)


def history_id(attempt: Attempt) -> str:
    """Return the key under which Allure keeps the test's history, in this environment.

    Allure makes it from the test case and those parameters that are not excluded: that is the
    environment alone, see `shape`.
    """
    return f"{identity(test_case(attempt))}.{identity(f'{ENVIRONMENT}:{attempt.environment}')}"


def uuid(attempt: Attempt) -> str:
    """Return the result's uuid: the same whenever the report is built."""
    made = identity(f"{attempt.session} {attempt.environment} {attempt.test}")
    return str(attempt.found.raw.get("uuid", made)) if attempt.found else made


def status(attempt: Attempt) -> str:
    """Return Allure's word for how an attempt ended.

    --expect-known asks pytest for another colour; a report tells of Airflow, and there a broken
    promise is red, unless it is by design: that is an expected failure, which pytest skips. Where
    Allure's result and the session do not say the same, the worse of the two is told.
    """
    record = attempt.record
    by_design = record is not None and record.known is not None and record.known.by_design
    if attempt.invalid and not by_design:
        return "failed"
    told = [_STATUS[attempt.ended.outcome]] if attempt.ended else []
    if attempt.found:
        given = attempt.found.raw.get("status")
        told.append(str(given) if given in _RANKS else UNKNOWN)
    if told:
        return max(told, key=_RANKS.index)
    return "passed" if record is not None and record.verdict == "valid" else "broken"


def times(attempt: Attempt) -> tuple[int, int]:
    """Return when an attempt began and ended, in milliseconds since 1970."""
    if attempt.found and "start" in attempt.found.raw:
        start = int(attempt.found.raw["start"])
        return start, int(attempt.found.raw.get("stop", start))
    start = int(datetime.fromisoformat(attempt.started).timestamp() * 1000)
    return start, start + int(attempt.ended.seconds * 1000 if attempt.ended else 0)


def shape(attempt: Attempt, finding: Finding | None) -> Raw:
    """Return the result to stage, without its attachments; a test that left none gets one."""
    raw: Raw = dict(attempt.found.raw) if attempt.found else {"steps": []}
    start, stop = times(attempt)
    path, _, function = attempt.name.rpartition("::")
    raw |= {
        "uuid": uuid(attempt),
        "name": function,
        "fullName": attempt.name,
        "testCaseId": test_case(attempt),
        "titlePath": [*path.replace("::", "/").split("/")],
        "status": status(attempt),
        "start": start,
        "stop": stop,
        "statusDetails": _details(attempt, finding),
        "parameters": [*_parameters(attempt)],
        "labels": [*_labels(attempt, finding)],
        "links": _links(attempt),
    }
    raw.pop("historyId", None)
    return raw


def _details(attempt: Attempt, finding: Finding | None) -> Raw:
    """Say in a line why; what Allure's plugin took down at length becomes the trace.

    Never `known` nor `muted`: Allure leaves such failures out of its counts and its gate.
    """
    given: Raw = (attempt.found.raw.get("statusDetails") if attempt.found else None) or {}
    message, trace = str(given.get("message") or ""), str(given.get("trace") or "")
    if "\n" in message.strip():
        message, trace = message.strip().splitlines()[0], message
    if finding:
        message = finding.message or message
    elif attempt.ended and attempt.ended.reason:
        message = attempt.ended.reason
    details: Raw = {"message": excerpt(message)} if message else {}
    if trace:
        details["trace"] = redact(trace)
    if finding and finding.name.startswith("Flaky"):
        details["flaky"] = True
    return details


def _parameters(attempt: Attempt) -> Iterator[Raw]:
    """Give the parameters; only the (hidden) environment takes part in the test's identity."""
    given = attempt.found.raw.get("parameters") if attempt.found else None
    for parameter in given or ():
        if parameter.get("name") not in (*_OURS, ENVIRONMENT):
            value = excerpt(str(parameter.get("value", "")))
            yield {"name": parameter.get("name"), "value": value, "excluded": True}
    told = attempt.record or attempt.run.session
    where = {"airflow": attempt.airflow, "lab": attempt.lab, "schedulers": attempt.schedulers}
    for name, told_value in {**where, **({"seed": told.seed} if told else {})}.items():
        yield {"name": name, "value": str(told_value), "excluded": True}
    yield {"name": ENVIRONMENT, "value": attempt.environment, "mode": "hidden"}


def _labels(attempt: Attempt, finding: Finding | None) -> Iterator[dict[str, str]]:
    """Give the labels: those that came with the result, and defaults for what it lacks."""
    given = [
        (str(label.get("name")), str(label.get("value")))
        for label in (attempt.found.raw.get("labels") if attempt.found else None) or ()
    ]
    file = attempt.name.partition("::")[0].rpartition("/")[2].removesuffix(".py")
    known = attempt.record.known if attempt.record else None
    ours = {
        ENVIRONMENT: attempt.environment,
        "airflow": attempt.airflow,
        "lab": attempt.lab,
        "schedulers": str(attempt.schedulers),
        "suite": file.removeprefix("test_").replace("_", " "),
        "parentSuite": attempt.environment,
        "session": attempt.session,
        **({LABEL: finding.name} if finding else {}),
    }
    defaults = {
        "severity": "critical" if known else "normal",
        "owner": "area:Scheduler",
        "epic": "Several schedulers",
        "story": known.title if known else "",
        "package": attempt.name.partition("::")[0].removesuffix(".py").replace("/", "."),
    }
    kept = [(n, v) for n, v in given if n not in ours and n not in _NO_CONCERN]
    said = {name for name, _ in kept}
    more = [(n, v) for n, v in defaults.items() if v and n not in said]
    for name, value in [*ours.items(), *kept, *more]:
        yield {"name": name, "value": redact(value)}


def _links(attempt: Attempt) -> list[Any]:
    """Give the links that came with the result, and one to the known issue."""
    given = list((attempt.found.raw.get("links") if attempt.found else None) or ())
    known = attempt.record.known if attempt.record else None
    if known and (link := issue_link(known.issue)):
        url, name = link
        if all(each.get("url") != url for each in given):
            given.append({"type": "issue", "url": url, "name": name})
    return given
