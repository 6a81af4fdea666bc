"""A lab whose own parts have ended cannot prove that Airflow forgot a task."""

from pathlib import Path

import pytest

from oracle.events import LAB_HEALTHY_AFTER, AssumptionEvent, End
from oracle.history import read
from oracle.verdict import Judge, Judgement
from tests.oracle.telling import HISTORIES

LOST = sorted((HISTORIES / "no-lost-task").glob("invalid-*.ndjson"))


def judged(path: Path, *, healthy: bool) -> Judgement:
    header, events = read(path)
    judge = Judge(header)
    for event in events:
        if isinstance(event, End):
            value = "healthy" if healthy else "kubelet ended with exit code 1"
            judge.feed(AssumptionEvent(event.t, LAB_HEALTHY_AFTER, healthy, value, "healthy"))
        judge.feed(event)
    return judge.conclude()


@pytest.mark.parametrize("path", LOST, ids=lambda path: path.stem)
def test_a_lost_task_in_a_lab_with_problems_is_unknown(path: Path) -> None:
    judgement = judged(path, healthy=False)
    assert judgement.verdict == "unknown"
    assert "kubelet ended" in judgement.not_judged["no-lost-task"]


@pytest.mark.parametrize("path", LOST, ids=lambda path: path.stem)
def test_a_lost_task_in_a_healthy_lab_is_invalid(path: Path) -> None:
    assert judged(path, healthy=True).verdict == "invalid"
