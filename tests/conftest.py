"""How the tests are spread over workers; and Ctrl-C, also where it is ignored from the start.

    labs-1, labs-2 ..   a lane of tests that run labs: so many labs are up at once, and not more
    a module            tests that share what their module makes once: it is made once
    the others          whoever is free takes the next

What is long comes first, so that no worker is left with it at the end. (`make test` needs xdist's
`--no-loadscope-reorder`: by itself, xdist takes the group with the most tests first.)
"""

import signal

import pytest

from common.environment import forget_libpq

# The tests' own connections are as a lab's.
forget_libpq(credentials=False)

# A script's `make test &` has it ignored, and so would the processes that tests interrupt.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

LONG = ("system", "lab", "recorder", "unit", "reports")
"""The folders whose tests take long, the longest first."""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give a module's tests a group where they share its fixtures; put the long ones first."""
    shared = {item.path for item in items if _shares(item)}
    for item in items:
        if item.path in shared and item.get_closest_marker("xdist_group") is None:
            item.add_marker(pytest.mark.xdist_group(item.path.stem))
    items.sort(key=_rank)


def _shares(item: pytest.Item) -> bool:
    """Tell whether a test uses what is made once for its module."""
    assert isinstance(item, pytest.Function)
    used = item._fixtureinfo.name2fixturedefs.values()
    return any(each[-1].scope == "module" for each in used)


def _rank(item: pytest.Item) -> tuple[int, int]:
    """Return a test's place: labs, then what shares something, then the others."""
    group = item.get_closest_marker("xdist_group")
    kind = 2 if group is None else 0 if str(group.args[0]).startswith("labs") else 1
    folder = item.path.parts[len(item.config.rootpath.parts) + 1]
    return kind, LONG.index(folder) if folder in LONG else len(LONG)
