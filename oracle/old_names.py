"""What was called otherwise before: the one table by which old records and command lines work.

A point that is closed was a gate until November 2026; `gate` is the release gate alone now.
"""

import re
from collections.abc import Mapping

EVENT = ("gate", "hold")
"""A history's events of holds, by their kind."""

OPS = {"closed": "hold", "reached": "held", "opened": "release"}
"""What such an event says, and the step of a scenario that says the same."""

ASSUMPTIONS = {"gate-reached": "hold-reached"}

STEPS = {"close": "hold", "stands": "held", "passes": "pass", "open": "release"}
"""The verbs of a scenario's steps."""

COMMANDS = {"remove-audit": ("recorder", "remove"), "try-audit": ("recorder", "try")}
"""What `python -m oracle` did before: the module, and its command, that does it now."""

TESTS = {"test_gated": "test_held"}

_TESTS = re.compile(rf"\b({'|'.join(TESTS)})(?![a-z0-9_])")
_WORDS = {old.removeprefix("test_"): new.removeprefix("test_") for old, new in TESTS.items()}
_EXPRESSION = re.compile(rf"\b(test_)?({'|'.join(_WORDS)})\b")


def present_event(fields: Mapping[str, object]) -> dict[str, object]:
    """Return an event of a history, as JSON has it, in the present words."""
    old, new = EVENT
    if fields.get("kind") != old:
        return dict(fields)
    return {**fields, "kind": new, "op": OPS.get(str(fields.get("op")), "")}


def present_test(text: str) -> str:
    """Return a test's name, a node id or a run folder's name with the present name of the test."""
    return _TESTS.sub(lambda found: TESTS[found[1]], text)


def present_expression(text: str) -> str:
    """Return an expression for `pytest -k` that selects what it selected before."""
    return _EXPRESSION.sub(lambda found: f"{found[1] or ''}{_WORDS[found[2]]}", text)
