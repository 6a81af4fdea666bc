"""A session runs what its depth asks for, and always what is named."""

import pytest

from harness import depth
from tests.unit.test_options import collect

FAULTS = "suites/test_faults.py"


def collected(*arguments: str) -> set[str]:
    code, output = collect(*arguments)
    assert code == 0, output
    return {line.split("[")[0] for line in output.splitlines() if "::" in line}


def test_quick_has_every_scenario_and_leaves_long_faults_to_nightly() -> None:
    quick, nightly = collected(), collected("--depth", "nightly")
    assert collected("--depth", "soak") == nightly
    left = nightly - quick
    assert f"{FAULTS}::test_watch_silent" in left
    assert f"{FAULTS}::test_scheduler_kill" in quick
    others = ("suites/test_duplicate_tries.py::test_flood", "suites/test_exploration.py::")
    assert all(each.startswith((FAULTS, *others)) for each in left)
    assert "suites/test_exploration.py::test_explored_by_default" in quick


@pytest.mark.parametrize("how", [("-k", "silent"), ("-m", "fault"), (FAULTS,)])
def test_what_is_named_runs_at_any_depth(how: tuple[str, ...]) -> None:
    assert f"{FAULTS}::test_watch_silent" in collected(*how)


def test_a_depth_that_is_asked_for_counts_for_what_is_named_too() -> None:
    assert f"{FAULTS}::test_watch_silent" not in collected("-m", "fault", "--depth", "quick")


def test_a_soak_has_longer_floods() -> None:
    assert [depth.runs_in_a_flood(each, 12) for each in depth.DEPTHS] == [12, 12, 120]


def test_a_depth_that_there_is_not_is_told(request: pytest.FixtureRequest) -> None:
    request.node.add_marker(pytest.mark.depth("deep"))
    with pytest.raises(pytest.UsageError, match="a depth is one of quick, nightly, soak"):
        depth.leave_to_deeper(request.config, [request.node], "quick")


def test_the_session_says_its_depth() -> None:
    assert "--depth nightly" in depth.line("quick")
    assert depth.line("soak") == "depth: soak"
