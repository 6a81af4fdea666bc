"""How long a task works: as the lab says, or as the run's conf does, whichever kind of task."""

from collections.abc import Mapping
from contextlib import suppress
from types import SimpleNamespace
from typing import Any

import pytest

from dags import work

TI = SimpleNamespace(
    dag_id="d", run_id="r", task_id="t", map_index=-1, try_number=1, task=SimpleNamespace(retries=0)
)
KINDS: Mapping[str, Mapping[str, Any]] = {
    "work": {},
    "defer": {},
    "flaky": {},
    "fail": {},
    "skip": {},
    "branch": {"choices": ["a", "b"]},
    "reschedule": {"pokes": 0},
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("dag_run", "seconds"),
    [
        (None, 3.0),
        (SimpleNamespace(conf=None), 3.0),
        (SimpleNamespace(conf={"of": "a user"}), 3.0),
        (SimpleNamespace(conf={"sleep": 8}), 8.0),
        (SimpleNamespace(conf={"sleep": 0.0}), 0.0),
    ],
)
def test_the_conf_of_a_run_has_the_last_word(
    monkeypatch: pytest.MonkeyPatch, kind: str, dag_run: Any, seconds: float
) -> None:
    slept: list[float] = []
    monkeypatch.setattr("time.sleep", slept.append)
    monkeypatch.delenv(work.LEDGER_VARIABLE, raising=False)
    with suppress(work.FlakyError, ImportError):
        getattr(work, kind)(TI, sleep=3.0, dag_run=dag_run, **KINDS[kind])
    assert slept == [seconds]
