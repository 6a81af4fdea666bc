"""Allure's history of all sessions but the present state, in the format that Allure documents.

Allure appends one line for each report that it makes. Ours is made anew from the stored runs
whenever the report is built: building twice, or leaving a run out, changes nothing else.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from uuid import NAMESPACE_URL, uuid5

import msgspec

from common.redaction import excerpt
from reports.allure.attempts import Attempt, Past, Raw
from reports.allure.results import history_id, identity, status, test_case, times, uuid

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
    by_session: dict[str, list[tuple[Attempt, bool]]] = defaultdict(list)
    for past in pasts:
        for attempt in past.attempts:
            by_session[attempt.session].append((attempt, attempt is past.newest))
    for session in sorted(by_session, key=lambda name: by_session[name][0][0].started):
        attempts = by_session[session]
        begun = datetime.fromisoformat(attempts[0][0].started)
        items = [_item(attempt, present) for attempt, present in attempts]
        yield {
            "uuid": str(uuid5(NAMESPACE_URL, session)),
            "name": session,
            "timestamp": int(begun.timestamp() * 1000),
            "knownTestCaseIds": sorted({identity(test_case(attempt)) for attempt, _ in attempts}),
            "testResults": {item["historyId"]: item for item in items},
            "metrics": {},
            "url": "",
        }


def _item(attempt: Attempt, present: bool) -> Raw:
    start, stop = times(attempt)
    key = history_id(attempt)
    reason = attempt.ended.reason if attempt.ended else ""
    return {
        "id": identity(uuid(attempt)),
        "name": attempt.name.rpartition("::")[2],
        "fullName": attempt.name,
        "environment": attempt.environment,
        "status": status(attempt),
        **({"message": excerpt(reason)} if reason else {}),
        "start": start,
        "stop": stop,
        "duration": stop - start,
        "labels": [],
        "url": "",
        "historyId": f"{key}.{PRESENT}" if present else key,
        "reportLinks": [],
    }
