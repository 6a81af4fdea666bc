"""A session that observes is killed, and the next one leaves the database as it was.

`python -m tests.deployment.kills` does it fifty times.
"""

import os

import pytest

from tests.deployment.kills import PHASES, kills, place
from tests.labs import ALL

pytestmark = pytest.mark.xdist_group("labs-3")


def test_whenever_a_session_is_killed_the_next_one_clears_up() -> None:
    with place() as where:
        found = list(kills(where, (2 if os.environ.get(ALL) else 1) * len(PHASES), seed=7))
    assert [each.after for each in found] == [[]] * len(found)
    alone = [each.in_database for each in found if not each.everything]
    assert alone == [[]] * len(alone) != []
