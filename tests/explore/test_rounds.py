"""Who may go on in a round, and when a move may come before its step."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from random import Random
from typing import Any, cast

import pytest
from msgspec.structs import replace

from explore.controller import Standing
from explore.coverage import Coverage
from explore.heartbeats import Heartbeats
from explore.points import Statement
from explore.rounds import Performance, Round
from explore.schedule import OVERDUE, Deed
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


def test_others_stand_while_a_person_s_request_is_carried_out(performance: Performance) -> None:
    api = Standing(3, 3, "api-server", Statement("s", SHARED))
    going = threading.Event()

    def request() -> None:
        going.wait()

    with ThreadPoolExecutor(1) as pool:
        mark = Deed("mark", "serial", before="scheduler-1 s 1")
        performance._later(mark, pool, request)
        assert performance._free([ONE, api]) == [api]
        assert performance._free([ONE]) == []
        going.set()
    assert performance._free([ONE, api]) == [ONE, api]


def test_a_move_waits_for_its_step_while_somebody_stands(performance: Performance) -> None:
    performance._free([ONE])
    assert performance._may_come_sooner(Deed("trigger", "serial", 9))
    assert not performance._may_come_sooner(Deed("resume", "scheduler-1", 9))
    performance._stood = time.monotonic() - 10
    performance._free([])
    assert performance._may_come_sooner(Deed("resume", "scheduler-1", 9))


def begun(performance: Performance, steps: list[str], *deeds: Deed) -> Round:
    """Return a round of some steps, once what was due while both stand has begun."""
    done = Round(1, "x1-ab", 0.0, deeds=list(deeds), steps=steps)
    performance._begin(done, list(deeds), [ONE, TWO], NOBODY)
    return done


def test_a_move_before_a_point_waits_until_the_process_stands_there_again(
    performance: Performance,
) -> None:
    cancel = Deed("cancel", at=1, before="scheduler-2 s 2")
    begun(performance, ["scheduler-1 s arrived"] * 3, cancel)
    assert performance._cancel is None
    done = begun(performance, ["scheduler-2 s idle"], cancel)
    assert performance._cancel == cancel
    assert done.deeds == [replace(cancel, at=1)], "it says at which step it was done"
    assert performance._choose(done, [ONE, TWO]) == TWO, "who is to fail is let past"


def test_a_move_whose_point_never_comes_is_made_nevertheless(performance: Performance) -> None:
    cancel = Deed("cancel", at=1, before="scheduler-2 never 1")
    done = begun(performance, ["scheduler-1 s arrived"] * OVERDUE, cancel)
    assert performance._cancel is None
    done = begun(performance, ["scheduler-1 s arrived"] * (OVERDUE + 1), cancel)
    assert performance._cancel is not None
    assert done.deeds[0].at == OVERDUE + 1
    assert performance._choose(done, [ONE]) == ONE, "whoever goes on next fails"
