"""Each invariant fires on the histories that break its promise, and on no other."""

from pathlib import Path
from typing import get_args, get_type_hints

import pytest

from oracle.__main__ import check
from oracle.events import Event, Header
from oracle.invariants import INVARIANTS, Invariant
from tests.oracle.telling import HISTORIES

NAMES = [kind.name for kind in INVARIANTS]
TOLD = sorted(path for path in HISTORIES.glob("*/*.ndjson") if path.parent.name in NAMES)
AT_LEAST = 5


def ids(path: Path) -> str:
    return f"{path.parent.name}/{path.stem}"


@pytest.mark.parametrize("path", [p for p in TOLD if p.stem.startswith("valid")], ids=ids)
def test_a_legal_history_is_valid_to_every_invariant(path: Path) -> None:
    judgement = check(path)
    assert [violation.message for violation in judgement.violations] == []
    assert judgement.verdict == "valid"


@pytest.mark.parametrize("path", [p for p in TOLD if p.stem.startswith("invalid")], ids=ids)
def test_a_broken_promise_is_named_by_its_invariant(path: Path) -> None:
    judgement = check(path)
    broken = [v for v in judgement.violations if v.invariant == path.parent.name]
    assert judgement.verdict == "invalid"
    assert len(broken) == judgement.by_invariant[path.parent.name] == 1
    kind = next(kind for kind in INVARIANTS if kind.name == path.parent.name)
    assert broken[0].message.startswith(f"{kind.promise}, but ")


@pytest.mark.parametrize("path", [p for p in TOLD if p.stem.startswith("invalid")], ids=ids)
def test_every_violation_has_a_witness(path: Path) -> None:
    for violation in check(path).violations:
        if violation.invariant != "no-lost-task":
            assert violation.t in {event.t for event in violation.events}
        elif violation.ti is not None:
            assert violation.events


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("outcome", ["valid", "invalid"])
def test_every_invariant_has_histories_of_both_outcomes(name: str, outcome: str) -> None:
    told = [path for path in TOLD if ids(path).startswith(f"{name}/{outcome}-")]
    assert len(told) >= AT_LEAST


@pytest.mark.parametrize("kind", INVARIANTS, ids=lambda kind: kind.name)
def test_every_method_for_an_event_is_called_and_takes_such_an_event(kind: type[Invariant]) -> None:
    events = {each.__struct_config__.tag: each for each in get_args(Event)}
    one = kind(Header(1, "r", "3.0.6", "embedded", [], 0, 0.0))
    methods = {name.removeprefix("on_") for name in dir(one) if name.startswith("on_")}
    assert methods <= events.keys()
    called = dict(one.handlers())
    assert set(called) == {events[name] for name in methods}
    for event, method in called.items():
        (taken,) = [each for name, each in get_type_hints(method).items() if name != "return"]
        assert event in (get_args(taken) or (taken,))
    assert kind.evidence in called
