"""A fault is made from what YAML can say of it: its name, on whom, and plain values."""

import re
from typing import Any

import pytest

from chaos.holds.points import Point
from chaos.link_cut import LinkCut
from chaos.named import fault, names
from chaos.pod_api_error import PodApiError
from chaos.slow_pods import SlowPods
from chaos.statement_delay import StatementDelay
from common.errors import UserError
from tests.unit.test_fault_data import faults


def test_every_fault_has_a_name_that_finds_it() -> None:
    assert names() == sorted(each.name for each in faults().values())


@pytest.mark.parametrize(
    ("given", "made"),
    [
        (
            ("pod-api-error", "scheduler-1", {"code": 503, "request": "create", "count": 1}),
            PodApiError("scheduler-1", 503, request="create", count=1),
        ),
        (("link-cut", "*", {"how": "drop", "seconds": 2}), LinkCut("*", how="drop", seconds=2)),
        (("slow-pods", None, {"delay": 3}), SlowPods(delay=3)),
        (
            ("statement-delay", "a", {"delay": 1, "point": {"table": "job", "row": {"id": 1}}}),
            StatementDelay("a", 1, point=Point("job", row={"id": 1})),
        ),
    ],
)
def test_plain_values_make_it(given: tuple[str, str | None, dict[str, Any]], made: object) -> None:
    assert fault(*given) == made


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (("pod-answer-loss", "a", {}), "No fault is called 'pod-answer-loss'. Did you mean pod-"),
        (("base", "a", {}), "No fault is called 'base'. There are "),
        (("slow-pods", "a", {"delay": 1}), "The fault slow-pods does not take process. It takes"),
        (("link-cut", "a", {"hwo": "drop"}), "The fault link-cut does not take hwo. It takes how,"),
        (("link-cut", None, {}), "The fault link-cut takes process, which is not given."),
        (("pod-api-error", "a", None), "The fault pod-api-error takes code, which is not given."),
        (
            ("pod-api-error", "a", {"code": "500"}),
            "The fault pod-api-error cannot be made: Expected `int`, got `str` - at `$.code`.",
        ),
        (("pod-api-error", "a", {"code": 418}), "The code must be one of 403, 409, 429, 500,"),
    ],
)
def test_what_makes_no_fault_is_one_clear_line(
    given: tuple[str, str | None, dict[str, Any] | None], message: str
) -> None:
    with pytest.raises(UserError, match=re.escape(message)):
        fault(*given)
