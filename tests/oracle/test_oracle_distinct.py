"""A long history's things are counted exactly, in little memory."""

import random
import tracemalloc

import pytest

from oracle import distinct
from oracle.distinct import Distinct


@pytest.mark.parametrize("seed", range(5))
def test_it_counts_and_knows_what_a_set_does(monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    monkeypatch.setattr(distinct, "_RECENT", 16)
    monkeypatch.setattr(distinct, "_YOUNG", 64)
    pick = random.Random(seed)
    known: set[object] = set()
    counted = Distinct()
    for _ in range(5_000):
        thing = (pick.choice("ab"), pick.randrange(2_000))
        assert (thing in counted) == (thing in known)
        known.add(thing)
        counted.add(thing)
        if not pick.randrange(50):
            assert len(counted) == len(known)
    assert len(counted) == len(known)


def test_of_many_things_each_takes_little_more_than_8_bytes() -> None:
    tracemalloc.start()
    counted = Distinct()
    for number in range(400_000):
        counted.add(number * 2_654_435_761)
    taken, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(counted) == 400_000
    assert taken < 400_000 * 9 + 400_000 // 8 * 100
