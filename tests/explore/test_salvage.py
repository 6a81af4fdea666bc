"""What a killed exploration found, and had no time to keep, is kept by the next one."""

import shutil
from pathlib import Path

import pytest
from msgspec.structs import replace

from explore import schedule as schedules
from explore.explorer import Drawn, Explorer
from explore.salvage import salvage
from tests.explore.test_explain import HISTORY
from tests.explore.test_schedule import SCHEDULE

LATER = (
    b'{"kind": "run", "t": 2.0, "op": "insert", "dag_id": "e", "run_id": "r9", "old": null,'
    b' "new": "queued", "process": "api-server", "xid": 999}\n'
)
"""Another transaction: what one shows is judged when it is over."""


def killed(folder: Path, number: int = 3) -> Path:
    """Leave what a batch leaves that is killed after a round: its history has no end."""
    batch = folder / "batch-0"
    batch.mkdir()
    lines = HISTORY.read_bytes().splitlines(keepends=True)
    (batch / "history.ndjson").write_bytes(b"".join(lines[:-1]) + LATER + lines[-1][:9])
    schedules.write(replace(SCHEDULE, round=number, broken=[]), batch / f"round-{number}.yaml")
    return batch


def named(batch: Path, run: str) -> None:
    path = batch / "history.ndjson"
    path.write_bytes(path.read_bytes().replace(b'"run_id": "', b'"run_id": "%s-' % run.encode()))


def explorer(folder: Path) -> Explorer:
    return Explorer(None, folder, 1, Drawn(1), tell=lambda _: None)  # type: ignore[arg-type]


def test_a_find_is_kept_with_its_history(tmp_path: Path) -> None:
    batch = killed(tmp_path)
    named(batch, "x3-ab")
    one = explorer(tmp_path)
    salvage(tmp_path, one.found)
    kept = schedules.read(tmp_path / "finds" / "3" / "schedule.yaml")
    assert kept.broken == ["max-active-runs"]
    assert "max-active-runs: " in kept.witness
    assert (tmp_path / "finds" / "3" / "history.ndjson").exists()
    assert [find.schedule.round for find in one.finds] == [3]
    assert not batch.exists()


@pytest.mark.parametrize("run", ["x33-ab", "x4-ab"])
def test_what_another_round_broke_is_not_laid_to_one(tmp_path: Path, run: str) -> None:
    named(killed(tmp_path), run)
    salvage(tmp_path, explorer(tmp_path).found)
    assert [each.name for each in tmp_path.iterdir()] == []


def test_what_cannot_be_read_is_drawn_again(tmp_path: Path) -> None:
    batch = killed(tmp_path)
    (batch / "history.ndjson").write_text("garbage")
    shutil.copytree(batch, tmp_path / "batch-40")
    (tmp_path / "batch-40" / "history.ndjson").unlink()
    salvage(tmp_path, explorer(tmp_path).found)
    assert [each.name for each in tmp_path.iterdir()] == []
