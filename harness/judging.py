"""Judges the run of a test, and ends the test as the judgement asks."""

from typing import Any

import pytest

from harness.evidence import CONCLUDED
from harness.markers import known_race
from harness.outcome import Unknown, ended, settle
from harness.publish import publish
from harness.results import CAPTURED, ENDED
from harness.run import AssumptionFailed, Run
from harness.session import SESSION
from lab.errors import LabError
from oracle.audit import AuditError
from oracle.history import HistoryError
from oracle.recorder import RecorderError
from oracle.verdict import Judgement

RUN = pytest.StashKey[Run]()
FAILED = pytest.StashKey[bool]()

# These say in a line what is wrong; a traceback would only hide it.
_TOLD = (Unknown, LabError, AuditError, RecorderError, HistoryError)


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> Any:
    """Judge the run once the test's function has returned, as part of the same call."""
    run = pyfuncitem.stash.get(RUN, None)
    if run is None:
        return (yield)
    try:
        result = yield
    except (AssumptionFailed, LabError) as error:
        run.assume("test-completed", False, str(error), "every step done")
        result = True
    except Exception as error:
        run.assume("test-completed", False, repr(error), "every step done")
        _conclude(pyfuncitem, run)
        raise
    _judge(pyfuncitem, run)
    return result


def _conclude(item: pytest.Function, run: Run) -> tuple[Judgement, dict[str, Any]]:
    try:
        judgement = run.end()
    except Exception as error:
        raise Unknown(f"The run could not be concluded, the lab may be gone: {error}") from error
    options = item.config.stash[SESSION].options
    record = publish(run, judgement, item.nodeid, known_race(item), options.expect_known)
    item.user_properties.append(("ha_chaos", record))
    item.stash[CONCLUDED] = (run, judgement)
    return judgement, record


def _judge(item: pytest.Function, run: Run) -> None:
    session = item.config.stash[SESSION]
    judgement, record = _conclude(item, run)
    record["outcome"] = settle(
        judgement,
        run.lab.airflow.version,
        known_race(item),
        expect_known=session.options.expect_known,
        witness=record["witness"],
    )


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Any:
    """Say how the phase ended, in a line, for session.json and for Allure.

    An unknown verdict or a bad environment is told in its own words, without a traceback.
    """
    report = yield
    if report.failed:
        item.stash[FAILED] = True
    if call.excinfo and call.excinfo.errisinstance(_TOLD):
        report.longrepr = str(call.excinfo.value)
    records: dict[str, Any] = dict(item.user_properties)
    report.ha_chaos_ended = ended(call, records.get("ha_chaos"))
    before = item.stash.get(ENDED, ("passed", ""))
    if before[0] == "passed" or report.ha_chaos_ended[0] in ("failed", "broken"):
        item.stash[ENDED] = report.ha_chaos_ended
    if report.when == "teardown":
        texts = (report.caplog, report.capstdout, report.capstderr)
        item.stash[CAPTURED] = dict(zip(("log", "stdout", "stderr"), texts, strict=True))
    return report
