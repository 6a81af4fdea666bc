"""A session that observes is killed, and the next one leaves the database as it was.

`python -m tests.deployment.kills` does it fifty times.
"""

import pytest

from tests.deployment.kills import PHASES, kills, place

pytestmark = pytest.mark.xdist_group("labs-3")


def test_whenever_a_session_is_killed_the_next_one_clears_up() -> None:
    with place() as where:
        found = list(kills(where, 2 * len(PHASES), seed=7))
    assert [each.after for each in found] == [[]] * len(found)
    assert [each.in_database for each in found if not each.everything] == [[]] * len(PHASES)
