"""How deep a session asks: which tests it leaves to a deeper one, and how long its floods are."""

from pathlib import Path

import pytest

DEPTHS = ("quick", "nightly", "soak")
MARKER = "depth(depth): only a session that asks as deep runs the test (--depth)"
LONGER = 10
"""So many times as many runs as its profile has are in a flood of a `soak`."""

_EXPLORING = dict(zip(DEPTHS, (60.0, 1200.0, 3600.0), strict=True))
_QUICK, _NIGHTLY, _SOAK = range(len(DEPTHS))


def add_depth_option(group: pytest.OptionGroup) -> None:
    """Declare --depth."""
    group.addoption(
        "--depth",
        choices=DEPTHS,
        help="quick: every scenario once, an undisturbed flood, a fault of each part, and a "
        "minute of exploring; nightly: all tests; "
        f"soak: all tests, with {LONGER} times as many runs in each flood (default: quick for "
        "whole folders; nightly where you name files, tests, -k or -m)",
    )


def depth_of(config: pytest.Config) -> str:
    """Return the depth that is asked for; who names tests wants those, however long they take."""
    given: str | None = config.getoption("depth")
    if given:
        return given
    named = any("::" in each or Path(each).suffix == ".py" for each in map(str, config.args))
    chosen = config.getoption("keyword") or config.getoption("markexpr")
    return DEPTHS[_NIGHTLY if named or chosen else _QUICK]


def runs_in_a_flood(depth: str, runs: int) -> int:
    """Return how many runs a flood has whose profile has `runs`."""
    return runs * LONGER if depth == DEPTHS[_SOAK] else runs


def seconds_of_exploring(depth: str) -> float:
    """Return for how long all explorations of a session explore, unless it is told."""
    return _EXPLORING[depth]


def leave_to_deeper(config: pytest.Config, items: list[pytest.Item], depth: str) -> None:
    """Deselect the tests for which a session does not ask deep enough."""
    deeper = [item for item in items if _needed(item) > DEPTHS.index(depth)]
    if deeper:
        config.hook.pytest_deselected(items=deeper)
        items[:] = [item for item in items if item not in deeper]


def _needed(item: pytest.Item) -> int:
    marker = item.get_closest_marker("depth")
    if marker is None:
        return _QUICK
    if len(marker.args) != 1 or marker.args[0] not in DEPTHS:
        raise pytest.UsageError(f"{item.nodeid}: a depth is one of {', '.join(DEPTHS)}.")
    return DEPTHS.index(marker.args[0])


def line(depth: str) -> str:
    """Say what a session of a depth leaves out."""
    if depth == DEPTHS[_QUICK]:
        return "depth: quick (--depth nightly also runs what takes long)"
    return f"depth: {depth}"
