"""An observation says first what it will not see."""

from types import SimpleNamespace
from typing import Any, cast

from harness.observe import Observation
from run.run import Run


def test_what_is_not_covered_is_said_before_anything_is_observed() -> None:
    told: list[str] = []
    stated: list[tuple[Any, ...]] = []
    lab = SimpleNamespace(not_covered=("worker pods in team-a",), unidentified="")
    run = SimpleNamespace(
        lab=lab,
        recorder=SimpleNamespace(gaps=[]),
        so_far=lambda: {"runs": 2},
        assume=lambda *what: stated.append(what),
    )
    Observation(cast("Run", run), 0.1, told.append).watch()
    assert told[0] == "Not covered: worker pods in team-a"
    assert told[1].startswith("Observing for 0 s")
    assert stated == [("schedulers-told-apart", True, "yes", "yes")]
