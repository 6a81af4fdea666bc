"""Only like is compared with like, and what cannot be told is not told."""

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from reports import records
from reports.metrics import Metrics
from reports.performance import FigureChange, compare

ID = "suites/test_duplicate_tries.py::test_flood_without_chaos[embedded-3.3.2]"


def record(folder: Path, **changes: Any) -> records.TestRecord:
    fields: dict[str, Any] = {
        "schema": 1, "test": ID, "airflow": "3.3.2", "version": "3.3.2", "lab": "embedded",
        "schedulers": 2, "seed": 1, "verdict": "valid", "folder": str(folder),
    }  # fmt: skip
    return records.TestRecord(**(fields | changes))


class Release:
    """Leaves runs of a release on disk, each with a pace of its own."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder = folder
        self.random = np.random.default_rng(seed)

    def run(self, pace: float = 1.0, ended: int = 50, **changes: Any) -> records.TestRecord:
        pace *= float(np.exp(self.random.normal(0, 0.1)))
        lag = [round(pace * float(x), 3) for x in self.random.lognormal(0, 0.5, 50)]
        metrics = Metrics(
            task_instances=50, ended=ended, makespan=20 * pace, throughput=2.5 / pace, lag=lag
        )
        folder = self.folder / str(len(list(self.folder.glob("*"))))
        folder.mkdir(parents=True)
        (folder / "metrics.json").write_bytes(msgspec.json.encode(metrics))
        return record(folder, **changes)


@pytest.fixture
def release(tmp_path: Path) -> Release:
    return Release(tmp_path, seed=11)


def by_metric(changes: list[FigureChange]) -> dict[str, FigureChange]:
    return {change.measure.name: change for change in changes}


def worse(change: FigureChange) -> bool:
    """Say whether a figure has become worse beyond doubt, at the confidence that was asked for."""
    if change.ratio is None:
        return False
    return change.ratio.high < 1 if change.measure.bigger_is_better else change.ratio.low > 1


def better(change: FigureChange) -> bool:
    """Say whether it has become better beyond doubt."""
    if change.ratio is None:
        return False
    return change.ratio.low > 1 if change.measure.bigger_is_better else change.ratio.high < 1


def test_a_slower_release_is_worse_in_every_figure(release: Release) -> None:
    base = [release.run() for _ in range(6)]
    new = [release.run(pace=2.0) for _ in range(6)]
    found = by_metric(compare(base, new))
    assert list(found) == ["lag p50", "lag p95", "throughput", "makespan"]
    assert all(worse(change) and not better(change) for change in found.values())
    assert found["makespan"].ratio is not None
    assert found["makespan"].ratio.low < 2.0 < found["makespan"].ratio.high
    assert all(better(change) for change in compare(new, base))


def test_the_same_release_is_neither_worse_nor_better(release: Release) -> None:
    base, new = [[release.run() for _ in range(5)] for _ in range(2)]
    assert not any(worse(change) or better(change) for change in compare(base, new))


def test_alike_releases_raise_no_more_alarms_than_asked(tmp_path: Path) -> None:
    alarms = figures = 0
    for seed in range(25):
        release = Release(tmp_path / str(seed), seed)
        base, new = [[release.run() for _ in range(4)] for _ in range(2)]
        changes = compare(base, new, confidence=0.9)
        alarms += sum(worse(change) for change in changes)
        figures += len(changes)
    assert alarms / figures <= 0.1, "one side of a 90 % interval is left in 5 of 100"


def test_too_few_runs_cannot_tell(release: Release) -> None:
    changes = compare([release.run() for _ in range(2)], [release.run() for _ in range(9)])
    assert len(changes) == 4
    for change in changes:
        assert change.ratio is None
        assert not worse(change)
        assert change.text().endswith("cannot tell, 2 and 9 whole runs, 3 of each are needed")


@pytest.mark.parametrize(
    "other",
    [
        {"lab": "kind"},
        {"schedulers": 3},
        {"workers": "pods"},
        {"test": ID.replace("without_chaos", "with_network_latency")},
        {"conditions": "core.parallelism=32"},
    ],
)
def test_unlike_runs_are_not_compared(release: Release, other: dict[str, Any]) -> None:
    base = [release.run() for _ in range(3)]
    changes = compare(base, [release.run(**other) for _ in range(3)])
    assert len(changes) == 8
    assert all(change.ratio is None for change in changes)


def test_runs_that_did_not_end_or_cannot_tell_do_not_count(release: Release) -> None:
    base = [release.run() for _ in range(3)]
    new = [release.run(), release.run(), release.run(ended=49), release.run(verdict="unknown")]
    assert {change.new_runs for change in compare(base, new)} == {2}


@pytest.mark.parametrize(
    ("folder", "test", "lab", "airflow", "name"),
    [
        ("", "test_gated[57618-fan-out-kind-3.0.6]", "kind", "3.0.6", "test_gated[57618-fan-out]"),
        ("", "test_gated[57618-x-kind-3.0.6-12-20]", "kind", "3.0.6", "test_gated[57618-x]"),
        ("", "test_cut[kind-3.3.2-drop]", "kind", "3.3.2", "test_cut[drop]"),
        ("", "test_cut[kind-3.3.2-drop-1-3]", "kind", "3.3.2", "test_cut[drop]"),
        ("", "test_flood[embedded-3.3.2]", "embedded", "3.3.2", "test_flood"),
        (
            "20261122-132209-python",
            "test_x[a-embedded-python]",
            "embedded",
            "3.1.8-7e",
            "test_x[a]",
        ),
        (
            "20261122-132209-mine-3.0.6",
            "test_x[a-embedded-mine-3.0.6]",
            "embedded",
            "3.0.6",
            "test_x[a]",
        ),
        ("", "test_plain", "embedded", "3.0.6", "test_plain"),
    ],
)
def test_a_test_has_one_name_on_every_airflow(
    folder: str, test: str, lab: str, airflow: str, name: str
) -> None:
    where = Path(folder or f"20261122-1-{airflow}") / "tests" / "it"
    assert record(where, test=f"s.py::{test}", lab=lab, airflow=airflow).name.bare == name
