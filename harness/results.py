"""Makes Allure's results say where a test ran, whom it is for, and why it ended as it did.

Only what must happen while a test is at hand: its steps, its files, and what its item knows.
Allure's own plugin writes the result when the test is over. What died with an xdist worker, or was
never run, has none: at the session's end reports/allure makes it of session.json, and shapes all.
"""

import logging
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from allure_commons.model2 import Label, Link, Parameter, Status, StatusDetails, TestResult
from allure_pytest.utils import allure_labels

from common.redaction import redact, redact_failure
from harness import evidence
from harness.evidence import CONCLUDED
from harness.markers import declared_faults, known_race, params_of
from harness.outcome import KnownRace
from reports.records import Ended, issue_link, worst_end

log = logging.getLogger(__name__)

_STATUS = {"failed": Status.FAILED, "broken": Status.BROKEN}

# What Allure's plugin alone knows: in which process a test ran, and by what.
_ALLURES_OWN = ("thread", "framework", "language")

_REPETITION = "__pytest_repeat_step_number"

ENDED = pytest.StashKey[Ended]()
"""How a test ended, as in session.json, and why in a line: the worst of its attempts."""

CAPTURED = pytest.StashKey[Mapping[str, str]]()
"""What pytest captured of a test; Allure's own plugin would attach it with its secrets."""


class Results:
    """The plugin that completes the result of each test, once the test's lab is free again."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._item: pytest.Item | None = None

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        """Complete also the result of a test that Ctrl-C ended: it is broken, not skipped."""
        self._item = item
        try:
            return (yield)
        except BaseException:
            stopped = Ended("broken", reason="The session was stopped while this test ran.")
            item.stash[ENDED] = worst_end(item.stash.get(ENDED, Ended("passed")), stopped)
            self._complete(item)
            raise

    def pytest_runtest_logfinish(self, nodeid: str) -> None:
        """Complete the result; Allure's plugin, which wraps this hook, then writes it."""
        if self._item is not None and self._item.nodeid == nodeid:
            self._complete(self._item)

    def _complete(self, item: pytest.Item) -> None:
        listener: Any = self._config.pluginmanager.get_plugin("allure_listener")
        result = listener.allure_logger.get_test(None) if listener else None
        if result is None:
            return
        try:
            shape(result, item)
            _state_end(result, item.stash.get(ENDED, Ended("passed")))
            evidence.attach_captured(item.stash.get(CAPTURED, {}))
            if concluded := item.stash.get(CONCLUDED, None):
                del item.stash[CONCLUDED]  # it holds what is drawn of a whole history
                concluded.add(result)
        except Exception:
            log.exception("The report of %s is not complete", item.nodeid)


def shape(result: TestResult, item: pytest.Item) -> None:
    """Give a result what only its item knows; by name and title path reports know the test.

    The Airflow that the parameter `lab` names may be a path on this machine, and stays out.
    """
    known = known_race(item)
    params = params_of(item)
    result.name = item.name
    result.description = _doc(getattr(item, "function", None))
    result.parameters = [
        Parameter("repetition" if name == _REPETITION else name, str(value))
        for name, value in sorted(params.items())
        if name != "lab"
    ]
    kept = [label for label in result.labels if label.name in _ALLURES_OWN]
    result.labels = [*(Label(name, value) for name, value in _labels(item, known)), *kept]
    if known and (link := issue_link(known.scenario.issue)):
        others = [other for other in result.links if other.url != link[0]]
        result.links = [*others, Link("issue", *link)]


def _labels(item: pytest.Item, known: KnownRace | None) -> Iterator[tuple[str, str]]:
    """Give a test's labels; what it says itself, by a marker of Allure's, goes before."""
    own = [(str(name), str(value)) for name, value in sorted(allure_labels(item), key=str)]
    defaults = {
        "feature": _doc(getattr(item, "module", None)),
        "story": known.scenario.title if known else _doc(getattr(item, "function", None)),
        "severity": "critical" if item.get_closest_marker("scenario") else "normal",
    }
    named = {name for name, _ in own}
    yield from own
    yield from ((name, value) for name, value in defaults.items() if name not in named and value)
    for name in ("scenario", "issue", "flood", "needs"):
        if marker := item.get_closest_marker(name):
            yield from (("tag", f"{name}: {value}") for value in marker.args)
    yield from (("tag", f"fault: {fault.name}") for fault in declared_faults(item))


def _doc(thing: object) -> str:
    """Return the first paragraph of a docstring as one line."""
    text = (getattr(thing, "__doc__", None) or "").strip()
    return " ".join(text.split("\n\n")[0].split())


def _state_end(result: TestResult, end: Ended) -> None:
    """Say in one line why a test did not pass; the witness, or what was raised, is its trace.

    Allure takes the newest result of a test for the present one: a later attempt that passed is
    therefore shown as bad as the worst before it.
    """
    result.status = _STATUS.get(end.outcome, result.status)
    if end.outcome == "passed" and not end.reason:
        return
    details = result.statusDetails or StatusDetails()
    details.message = redact(end.reason)
    details.trace = redact_failure(details.trace) if details.trace else None
    result.statusDetails = details
