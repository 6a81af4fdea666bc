"""Judges the run of a test, and ends the test as the judgement asks."""

from contextlib import suppress
from typing import Any

import pytest

from common.errors import UserError
from harness.evidence import CONCLUDED
from harness.markers import known_race
from harness.outcome import Unknown, ended, settle
from harness.publish import publish
from harness.results import CAPTURED, ENDED
from harness.session import SESSION
from oracle.history import HistoryError
from oracle.verdict import Judgement
from recorder.audit import AuditError
from recorder.recorder import RecorderError
from reports.records import Ended, worst_end
from run.run import AssumptionFailed, Run

RUN = pytest.StashKey[Run]()
FAILED = pytest.StashKey[bool]()
RECORD = pytest.StashKey[dict[str, Any]]()

# What is known of one attempt at a test; a plugin may make another of the same item.
_ATTEMPT: tuple[pytest.StashKey[Any], ...] = (RUN, FAILED, RECORD, CAPTURED, CONCLUDED)

# These say in a line what is wrong; a traceback would only hide it.
_TOLD = (Unknown, UserError, AuditError, RecorderError, HistoryError)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Begin an attempt with nothing of the one before; how that ended is kept, for it counts."""
    for key in _ATTEMPT:
        if key in item.stash:
            del item.stash[key]


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> Any:
    """Judge the run once the test's function has returned, as part of the same call.

    A plugin's time limit fails the test from within, as `pytest.fail` does: such a run did not do
    what its verdict rests on. What stops the whole session is not waited for, but a violation that
    was seen before is written down.
    """
    run = pyfuncitem.stash.get(RUN, None)
    if run is None:
        return (yield)
    try:
        result = yield
    except (AssumptionFailed, UserError, pytest.fail.Exception) as error:
        run.assume("test-completed", False, str(error), "every step done")
        result = True
    except (KeyboardInterrupt, pytest.exit.Exception):
        _keep_violation(pyfuncitem, run)
        raise
    except Exception as error:
        run.assume("test-completed", False, repr(error), "every step done")
        _conclude(pyfuncitem, run)
        raise
    _judge(pyfuncitem, run)
    return result


def _conclude(item: pytest.Function, run: Run) -> tuple[Judgement, dict[str, Any]]:
    try:
        judgement = run.end()
    except (Exception, pytest.fail.Exception) as error:
        raise Unknown(f"The run could not be concluded, the lab may be gone: {error}") from error
    options = item.config.stash[SESSION].options
    record = publish(run, judgement, item.nodeid, known_race(item), options.expect_known)
    item.stash[RECORD] = record
    item.stash[CONCLUDED] = (run, judgement)
    return judgement, record


def _keep_violation(item: pytest.Function, run: Run) -> None:
    if run.violated.is_set():
        run.assume("test-completed", False, "the session was stopped", "every step done")
        with suppress(Unknown):
            _conclude(item, run)


def _judge(item: pytest.Function, run: Run) -> None:
    session = item.config.stash[SESSION]
    judgement, record = _conclude(item, run)
    settle(
        judgement,
        run.lab.airflow.version,
        known_race(item),
        expect_known=session.options.expect_known,
        witness=record["witness"],
    )


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Any:
    """Say how the phase ended, in a line, for session.json and for Allure.

    That is the worst end of the test by now, of this attempt and of those before it.
    An unknown verdict or a bad environment is told in its own words, without a traceback.
    """
    report = yield
    if report.failed:
        item.stash[FAILED] = True
    if call.excinfo and call.excinfo.errisinstance(_TOLD):
        report.longrepr = str(call.excinfo.value)
    outcome, reason = ended(call, item.stash.get(RECORD, None))
    worst = worst_end(item.stash.get(ENDED, Ended("passed")), Ended(outcome, reason=reason))
    item.stash[ENDED] = worst
    report.ha_chaos_ended = worst.outcome, worst.reason
    if report.when == "teardown":
        texts = (report.caplog, report.capstdout, report.capstderr)
        item.stash[CAPTURED] = dict(zip(("log", "stdout", "stderr"), texts, strict=True))
    return report
