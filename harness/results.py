"""Makes Allure's results say where a test ran, whom it is for, and why it ended as it did.

Only what must happen while a test is at hand: its steps, its files, and what its item knows.
Allure's own plugin writes the result when the test is over. What died with an xdist worker, or was
never run, has none: reports/allure makes it of session.json, and shapes all results for a report.
"""

import logging
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from allure_commons.model2 import Label, Link, Parameter, Status, StatusDetails, TestResult
from allure_commons.utils import md5

from common.redaction import redact
from harness import evidence
from harness.cards import Card, card
from harness.evidence import CONCLUDED
from harness.session import Session
from reports.records import Ended, worst_end

log = logging.getLogger(__name__)

_STATUS = {"failed": Status.FAILED, "broken": Status.BROKEN}

# What Allure's plugin alone knows: in which process a test ran, and by what.
_ALLURES_OWN = ("thread", "framework", "language")

ENDED = pytest.StashKey[Ended]()
"""How a test ended, as in session.json, and why in a line: the worst of its attempts."""

CAPTURED = pytest.StashKey[Mapping[str, str]]()
"""What pytest captured of a test; Allure's own plugin would attach it with its secrets."""


class Results:
    """The plugin that completes the result of each test, once the test's lab is free again."""

    def __init__(self, config: pytest.Config, session: Session) -> None:
        self._config = config
        self._session = session
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
            shape(result, card(item, self._session))
            _state_end(result, item.stash.get(ENDED, Ended("passed")))
            evidence.attach_captured(item.stash.get(CAPTURED, {}))
            if concluded := item.stash.get(CONCLUDED, None):
                del item.stash[CONCLUDED]  # it holds what is drawn of a whole history
                concluded.add(result)
        except Exception:
            log.exception("The report of %s is not complete", item.nodeid)


def shape(result: TestResult, of: Card) -> None:
    """Give a result its names, labels and parameters: the same in every session of a place."""
    result.name = of.name
    result.fullName = of.full_name
    result.titlePath = of.title_path
    result.testCaseId = md5(of.full_name)
    result.historyId = of.history_id
    result.description = of.description
    result.parameters = [Parameter(name, value) for name, value in of.parameters]
    kept = [label for label in result.labels if label.name in _ALLURES_OWN]
    result.labels = [Label(name, value) for name, value in of.labels] + kept
    if of.issue:
        url, name = of.issue
        result.links = [*(one for one in result.links if one.url != url), Link("issue", url, name)]


def _state_end(result: TestResult, end: Ended) -> None:
    """Say in one line why a test did not pass; the witness, or what was raised, is its trace.

    Allure takes the newest result of a test for the present one: a later attempt that passed is
    therefore told as bad as the worst before it.
    """
    result.status = _STATUS.get(end.outcome, result.status)
    if end.outcome == "passed" and not end.reason:
        return
    details = result.statusDetails or StatusDetails()
    details.message = redact(end.reason)
    details.trace = redact(details.trace) if details.trace else None
    result.statusDetails = details
