"""An exploration goes on where it ended, also after its process was killed."""

from pathlib import Path

import pytest

from common.errors import UserError
from explore.memory import Memory, recall


def test_nothing_is_remembered_at_first(tmp_path: Path) -> None:
    assert recall(tmp_path).rounds == 0


def test_coverage_is_what_it_was() -> None:
    memory = Memory(pairs=[("a", "b", "scheduler-scheduler", 3)], orders=["x"])
    coverage = memory.coverage()
    assert coverage.pairs["a", "b", "scheduler-scheduler"] == 3
    assert coverage.orders == {"x"}


@pytest.mark.parametrize("text", ["", "{", '{"schema": 99}', '{"rounds": "many"}', "[]"])
def test_a_bad_file_is_told_in_a_line(tmp_path: Path, text: str) -> None:
    (tmp_path / "exploration.json").write_text(text)
    with pytest.raises(UserError, match="Remove it to begin anew") as told:
        recall(tmp_path)
    assert len(str(told.value).splitlines()) == 1
