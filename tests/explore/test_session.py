"""An exploration in a test session says what was too little."""

import pytest
from msgspec.structs import replace

from explore.points import PODS
from explore.schedule import Deed, Verb
from harness.exploration import powers, require_enough
from harness.outcome import Unknown
from tests.explore.test_schedule import SCHEDULE


@pytest.mark.parametrize(("rounds", "unknown"), [(1, 0), (2, 1), (10, 5)])
def test_half_of_the_rounds_are_enough(rounds: int, unknown: int) -> None:
    require_enough(rounds, unknown)


@pytest.mark.parametrize(
    ("rounds", "unknown", "said"),
    [
        (0, 0, "Explored too short: 0 of 0 .* give --explore more"),
        (3, 2, "Explored too short: 2 of 3 .* give --explore more"),
        (4, 3, "^3 of 4 explored rounds are unknown.$"),
    ],
)
def test_what_was_too_little_is_unknown(rounds: int, unknown: int, said: str) -> None:
    with pytest.raises(Unknown, match=said):
        require_enough(rounds, unknown)


@pytest.mark.parametrize(
    ("moves", "points", "more"),
    [
        ([], [], set()),
        (["pause", "resume", "clear"], [], set()),
        (["kill"], [], {"kill"}),
        (["silence", "tell"], [], {"kube-api"}),
        ([], [str(PODS[0])], {"kube-api"}),
    ],
)
def test_a_find_can_be_a_race_that_needs_what_its_round_had(
    moves: list[Verb], points: list[str], more: set[str]
) -> None:
    deeds = [*SCHEDULE.deeds, *(Deed(do, "scheduler-1", at=9) for do in moves)]
    found = replace(SCHEDULE, deeds=deeds, points=[*SCHEDULE.points, *points])
    assert powers(found) == {"hold", "pause"} | more
