"""Who may go on in a round, and when a move may come before its step."""

import time
from random import Random
from typing import Any, cast

import pytest

from explore.controller import Standing
from explore.coverage import Coverage
from explore.heartbeats import Heartbeats
from explore.points import Statement
from explore.rounds import Performance
from explore.schedule import Deed
from explore.strategies import RandomWalk
from tests.explore.toy import SHARED

ONE, TWO = (Standing(n, n, f"scheduler-{n}", Statement("s", SHARED)) for n in (1, 2))
NOBODY = cast("Any", None)


@pytest.fixture
def performance() -> Performance:
    return Performance(NOBODY, NOBODY, RandomWalk(Random(1)), Coverage(), Heartbeats())


def test_who_is_frozen_does_not_go_on(performance: Performance) -> None:
    assert performance._free([ONE, TWO]) == [ONE, TWO]
    performance._moves._lasting["silence", "scheduler-2"] = NOBODY
    assert performance._free([ONE, TWO]) == [ONE, TWO], "a silent watch freezes nobody"
    performance._moves._lasting["pause", "scheduler-1"] = NOBODY
    assert performance._free([ONE, TWO]) == [TWO]
    assert performance._free([ONE]) == []


def test_a_move_waits_for_its_step_while_somebody_stands(performance: Performance) -> None:
    performance._free([ONE])
    assert performance._may_come_sooner(Deed("trigger", "serial", 9))
    assert not performance._may_come_sooner(Deed("resume", "scheduler-1", 9))
    performance._stood = time.monotonic() - 10
    performance._free([])
    assert performance._may_come_sooner(Deed("resume", "scheduler-1", 9))
