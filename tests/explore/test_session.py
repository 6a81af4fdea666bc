"""An exploration in a test session says what was too little."""

import pytest

from harness.exploration import require_enough
from harness.outcome import Unknown


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
