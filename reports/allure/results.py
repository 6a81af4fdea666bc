"""Shapes a test's result for Allure: its names, where it ran, what was found, whom it concerns."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from hashlib import md5
from pathlib import Path
from typing import Any
from uuid import NAMESPACE_URL, uuid5

import msgspec

from common.files import write_whole
from common.redaction import excerpt, redact, redact_failure
from reports.allure.findings import LABEL, Finding, find
from reports.allure.pasts import RANKS, Past, Raw, ReportedTrial, gather
from reports.grouping import grouped
from reports.records import Outcome
from reports.store import Runs

ENVIRONMENT = "environment"
OWNER = "area:Scheduler"
"""Whom a finding goes to: the label of Airflow's own issues."""

_STATUS: dict[Outcome, str] = {"xfailed": "skipped", "crashed": "broken"}
"""What Allure calls an end for which it has no word of ours."""

PRESENT = "present"
"""Marks the key of a result that the report shows as the present: it counts in the trend of its
session, and must not stand a second time in the history of its test."""

_OURS = ("airflow", "lab", "schedulers")
_NO_CONCERN = ("host", "thread", "framework", "language")


def identity(text: str) -> str:
    """Return Allure's hash of a name; it protects nothing."""
    return md5(text.encode(), usedforsecurity=False).hexdigest()


def test_case(trial: ReportedTrial) -> str:
    """Return what names the test in all environments, so that Allure shows them side by side."""
    return identity(trial.name.full)


def history_id(trial: ReportedTrial) -> str:
    """Return the key under which Allure keeps the test's history, in this environment.

    Allure makes it from the test case and those parameters that are not excluded: that is the
    environment alone, see `shape`.
    """
    return f"{identity(test_case(trial))}.{identity(f'{ENVIRONMENT}:{trial.environment.name}')}"


def uuid(trial: ReportedTrial) -> str:
    """Return the result's uuid: the same whenever the report is built."""
    made = identity(f"{trial.run.session_name} {trial.environment.name} {trial.test}")
    return str(trial.raw.get("uuid", made))


def status(trial: ReportedTrial) -> str:
    """Return Allure's word for how a trial ended.

    --expect-known asks pytest for another colour; a report is about Airflow, and there a broken
    promise is red, unless it is by design: that is an expected failure, which pytest skips. Where
    Allure's result and the session do not say the same, the worse of the two counts.
    """
    record = trial.record
    by_design = record is not None and record.known is not None and record.known.by_design
    if trial.verdict == "invalid" and not by_design:
        return "failed"
    said = [_STATUS.get(trial.ended.outcome, trial.ended.outcome)] if trial.ended else []
    said += [trial.result.status] if trial.result else []
    if said:
        return max(said, key=RANKS.index)
    return "passed" if record is not None and record.verdict == "valid" else "broken"


def began(trial: ReportedTrial) -> int:
    """Return when a trial's run began, in milliseconds since 1970; 0 where that is not known."""
    started = trial.run.started
    return int(datetime.fromisoformat(started).timestamp() * 1000) if started else 0


def times(trial: ReportedTrial) -> tuple[int, int]:
    """Return when an trial began and ended, in milliseconds since 1970."""
    if "start" in trial.raw:
        start = int(trial.raw["start"])
        return start, int(trial.raw.get("stop", start))
    start = began(trial)
    return start, start + int(trial.ended.seconds * 1000 if trial.ended else 0)


def shape(trial: ReportedTrial, finding: Finding | None) -> Raw:
    """Return the result to stage, without its attachments; a test that left none gets one."""
    start, stop = times(trial)
    raw = (trial.raw or {"steps": []}) | {
        "uuid": uuid(trial),
        "name": trial.name.short,
        "fullName": trial.name.full,
        "testCaseId": test_case(trial),
        "titlePath": trial.name.path.replace("::", "/").split("/"),
        "status": status(trial),
        "start": start,
        "stop": stop,
        "statusDetails": _details(trial, finding),
        "parameters": [*_parameters(trial)],
        "labels": [*_labels(trial, finding)],
        "links": _links(trial),
    }
    raw.pop("historyId", None)
    return raw


def complete(runs: Runs, home: Path) -> None:
    """Shape a session's results where Allure's plugin left them, for who takes them from there.

    A test that crashed, or never ran, gets one. Names stay as pytest gave them: by these a report
    of several sessions knows the test again.
    """
    for past in gather(runs, home).pasts:
        for trial in past.trials:
            raw = shape(trial, find(Past((trial,))))
            file, *names = trial.test.split("::")
            raw |= {"name": names[-1] if names else file, "historyId": history_id(trial)}
            raw["titlePath"] = [*file.split("/"), *names[:-1]]
            path = trial.result.path if trial.result else home / f"{raw['uuid']}-result.json"
            write_whole(path, msgspec.json.encode(raw))


def _details(trial: ReportedTrial, finding: Finding | None) -> Raw:
    """Say in a line why; what Allure's plugin took down at length becomes the trace.

    Never `known` nor `muted`: Allure leaves such failures out of its counts and its gate.
    """
    given: Raw = trial.raw.get("statusDetails") or {}
    message, trace = str(given.get("message") or ""), str(given.get("trace") or "")
    if "\n" in message.strip():
        message, trace = message.strip().splitlines()[0], message
    if finding:
        message = finding.message or message
    elif trial.ended and trial.ended.reason:
        message = trial.ended.reason
    details: Raw = {"message": excerpt(message)} if message else {}
    if trace:
        details["trace"] = redact_failure(trace)
    if finding and finding.name.startswith("Flaky"):
        details["flaky"] = True
    return details


def _parameters(trial: ReportedTrial) -> Iterator[Raw]:
    """Give the parameters; only the (hidden) environment takes part in the test's identity."""
    for parameter in trial.raw.get("parameters") or ():
        if parameter.get("name") not in (*_OURS, ENVIRONMENT):
            value = excerpt(str(parameter.get("value", "")))
            yield {"name": parameter.get("name"), "value": value, "excluded": True}
    record = trial.record or trial.run.session
    where = {**_where(trial), **({"seed": str(record.seed)} if record else {})}
    for name, value in where.items():
        yield {"name": name, "value": value, "excluded": True}
    yield {"name": ENVIRONMENT, "value": trial.environment.name, "mode": "hidden"}


def _where(trial: ReportedTrial) -> dict[str, str]:
    place = trial.environment
    return {"airflow": place.build.label, "lab": place.lab, "schedulers": str(place.schedulers)}


def _labels(trial: ReportedTrial, finding: Finding | None) -> Iterator[dict[str, str]]:
    """Give the labels: those that came with the result, and defaults for what is missing."""
    given = [
        (str(each.get("name")), str(each.get("value"))) for each in trial.raw.get("labels") or ()
    ]
    known = trial.record.known if trial.record else None
    file = Path(trial.name.path.partition("::")[0])
    ours = {
        ENVIRONMENT: trial.environment.name,
        **_where(trial),
        "suite": file.stem.removeprefix("test_").replace("_", " "),
        "parentSuite": trial.environment.name,
        "session": trial.run.session_name,
        **({LABEL: finding.name} if finding else {}),
    }
    defaults = {
        "epic": "Several schedulers",
        "story": known.title if known else "",
        "severity": "critical" if known else "normal",
        "owner": OWNER,
        "package": ".".join(file.with_suffix("").parts),
    }
    kept = [(n, v) for n, v in given if n not in ours and n not in _NO_CONCERN]
    said = {name for name, _ in kept}
    more = [(n, v) for n, v in defaults.items() if v and n not in said]
    for name, value in [*ours.items(), *kept, *more]:
        yield {"name": name, "value": redact(value)}


def _links(trial: ReportedTrial) -> list[Any]:
    """Give the links that came with the result, and one to the known issue."""
    given = list(trial.raw.get("links") or ())
    known = trial.record.known if trial.record else None
    if known and known.link and all(each.get("url") != known.url for each in given):
        given.append({"type": "issue", "url": known.url, "name": known.link[1]})
    return given


def history(pasts: Sequence[Past]) -> Iterator[Raw]:
    """Go through the sessions, the oldest first, in the format of Allure's history.jsonl.

    Allure appends one line for each report that it makes. Ours is made anew from the stored runs
    whenever the report is built: building twice, or leaving a run out, changes nothing else.
    """
    present = {id(past.newest) for past in pasts}
    trials = (trial for past in pasts for trial in past.trials)
    by_session = grouped(trials, lambda trial: trial.run.session_name)
    for session, group in sorted(by_session.items(), key=lambda each: each[1][0].run.started):
        items = [_of_history(trial, id(trial) in present) for trial in group]
        yield {
            "uuid": str(uuid5(NAMESPACE_URL, session)),
            "name": session,
            "timestamp": began(group[0]),
            "knownTestCaseIds": sorted({identity(test_case(trial)) for trial in group}),
            "testResults": {item["historyId"]: item for item in items},
            "metrics": {},
            "url": "",
        }


def _of_history(trial: ReportedTrial, present: bool) -> Raw:
    start, stop = times(trial)
    key = history_id(trial)
    reason = trial.ended.reason if trial.ended else ""
    return {
        "id": identity(uuid(trial)),
        "name": trial.name.short,
        "fullName": trial.name.full,
        "environment": trial.environment.name,
        "status": status(trial),
        **({"message": excerpt(reason)} if reason else {}),
        "start": start,
        "stop": stop,
        "duration": stop - start,
        "labels": [],
        "url": "",
        "historyId": f"{key}.{PRESENT}" if present else key,
        "reportLinks": [],
    }
