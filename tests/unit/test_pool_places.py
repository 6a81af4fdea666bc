"""What loads the machine waits for its place: there are as many as processors."""

from pathlib import Path

import pytest

from common.errors import UserError
from lab.pool import Owner, Pool
from lab.room import Processors


def test_a_session_has_as_many_slots_as_it_had_room_for_before_it_had_labs(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("lab.pool.most", lambda: 4)
    assert Pool(tmp_path, None, Owner.me()).size == 4
    monkeypatch.setattr("lab.pool.most", lambda: 1)
    assert Pool(tmp_path, None, Owner.me()).size == 4
    assert Pool(tmp_path, 2, Owner.me()).size == 2


def test_so_many_load_the_machine_at_a_time(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(Processors, "ours", staticmethod(lambda: Processors(2.6)))
    one, other, third = (Pool(tmp_path, None, Owner.me()) for _ in range(3))
    with one._place(0.1):
        with other._place(0.1), pytest.raises(UserError, match="did not end"), third._place(0.1):
            pass
        with third._place(0.1):
            pass
