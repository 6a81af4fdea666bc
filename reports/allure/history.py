"""Allure's history of all sessions but the present state, in the format that Allure documents.

Allure appends one line for each report that it makes. Ours is made anew from the stored runs
whenever the report is built: building twice, or leaving a run out, changes nothing else.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from uuid import NAMESPACE_URL, uuid5

import msgspec

from common.redaction import excerpt
from reports.allure.pasts import Past, Raw, ReportedTrial
from reports.allure.results import began, history_id, identity, status, test_case, times, uuid

PRESENT = "present"
"""Marks the key of a result that the report shows as the present: it counts in the trend of its
session, and must not stand a second time in the history of its test."""


def write(pasts: Sequence[Past], path: Path) -> None:
    """Write history.jsonl, a line for each session, the oldest first."""
    with path.open("wb") as file:
        for point in points(pasts):
            file.write(msgspec.json.encode(point) + b"\n")


def points(pasts: Sequence[Past]) -> Iterator[Raw]:
    """Go through the sessions; one session is one launch."""
    by_session: dict[str, list[tuple[ReportedTrial, bool]]] = defaultdict(list)
    for past in pasts:
        for trial in past.trials:
            by_session[trial.run.session_name].append((trial, trial is past.newest))
    for session in sorted(by_session, key=lambda name: by_session[name][0][0].run.started):
        trials = by_session[session]
        items = [_item(trial, present) for trial, present in trials]
        yield {
            "uuid": str(uuid5(NAMESPACE_URL, session)),
            "name": session,
            "timestamp": began(trials[0][0]),
            "knownTestCaseIds": sorted({identity(test_case(trial)) for trial, _ in trials}),
            "testResults": {item["historyId"]: item for item in items},
            "metrics": {},
            "url": "",
        }


def _item(trial: ReportedTrial, present: bool) -> Raw:
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
