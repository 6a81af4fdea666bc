"""Judges the run of a test, writes the verdict down, and ends the test as the verdict asks.

    the test's function returns -> Run.end() reads the stored history once -> verdict.json,
    witness.txt, metrics.json -> pytest's outcome -> (results.py) Allure's result, the timeline

The verdict is written first: whatever fails after it cannot take it away.
"""

from contextlib import suppress
from dataclasses import asdict
from typing import Any

import pytest
from msgspec import convert

from common.errors import UserError
from common.interrupts import undisturbed
from common.redaction import redact
from harness.evidence import CONCLUDED, EvidenceReader
from harness.markers import known_race
from harness.outcome import Unknown, about, ended, settle
from harness.results import CAPTURED, ENDED
from harness.session import SESSION
from oracle import witness
from oracle.history import HistoryError
from oracle.verdict import Judgement
from recorder.audit import AuditError
from recorder.recorder import RecorderError
from reports.metrics import METRICS
from reports.records import SCHEMA, Assumption, Ended, TestRecord, worst_end
from reports.store import VERDICT
from run.folder import write_json
from run.run import AssumptionFailed, Run

RUN = pytest.StashKey[Run]()
FAILED = pytest.StashKey[bool]()

# What is known of one attempt at a test; a plugin may make another of the same item.
_ATTEMPT: tuple[pytest.StashKey[Any], ...] = (RUN, FAILED, CAPTURED, CONCLUDED)

# These say in a line what is wrong; a traceback would only hide it.
_IN_A_LINE = (Unknown, UserError, AuditError, RecorderError, HistoryError)


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
    was seen before is written down, whoever presses Ctrl-C again: xdist does, after 5 s.
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
        if run.violated.is_set():
            run.assume("test-completed", False, "the session was stopped", "every step done")
            with suppress(Unknown), undisturbed():
                _conclude(pyfuncitem, run)
        raise
    except Exception as error:
        run.assume("test-completed", False, repr(error), "every step done")
        _conclude(pyfuncitem, run)
        raise
    record, text = _conclude(pyfuncitem, run)
    settle(record, text)
    return result


def _conclude(item: pytest.Function, run: Run) -> tuple[TestRecord, str]:
    """End the run; write its verdict, its witness and its figures, and return the first two."""
    evidence = EvidenceReader(run, drawn=item.config.pluginmanager.hasplugin("allure_listener"))
    try:
        judgement = run.end(evidence.readers)
    except (Exception, pytest.fail.Exception) as error:
        raise Unknown(f"The run could not be concluded, the lab may be gone: {error}") from error
    record = _record(item, run, judgement)
    text = redact(witness.text(judgement))
    (run.folder / "witness.txt").write_text(text or "No promise was broken.\n")
    write_json(run.folder / VERDICT, record)
    if metrics := evidence.metrics():
        write_json(run.folder / METRICS, metrics)
    evidence.conclude(judgement, record, text)
    item.stash[CONCLUDED] = evidence
    return record, text


def _record(item: pytest.Item, run: Run, judgement: Judgement) -> TestRecord:
    """Return what verdict.json says of a judged run."""
    lab, known = run.lab, known_race(item)
    return TestRecord(
        schema=SCHEMA,
        test=item.nodeid,
        **about(lab),
        boot=dict(lab.boot),
        seed=run.seed,
        known=known.of(lab.airflow.version) if known else None,
        expect_known=item.config.stash[SESSION].options.expect_known,
        verdict=judgement.verdict,
        reasons=judgement.reasons,
        violations=judgement.by_invariant,
        judged=judgement.judged,
        not_judged=judgement.not_judged,
        not_covered=judgement.header.not_covered,
        **asdict(judgement.counts),
        time_to_first_violation=judgement.time_to_first_violation,
        assumptions=convert(judgement.assumptions, list[Assumption], from_attributes=True),
    )


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Any:
    """Say how the phase ended, in a line, for session.json and for Allure.

    That is the worst end of the test by now, of this attempt and of those before it.
    An unknown verdict or a bad environment is reported in its own words, without a traceback.
    """
    report = yield
    if report.failed:
        item.stash[FAILED] = True
    if call.excinfo and call.excinfo.errisinstance(_IN_A_LINE):
        report.longrepr = str(call.excinfo.value)
    evidence = item.stash.get(CONCLUDED, None)
    outcome, reason = ended(call, evidence.record if evidence else None)
    worst = worst_end(item.stash.get(ENDED, Ended("passed")), Ended(outcome, reason=reason))
    item.stash[ENDED] = worst
    report.ha_chaos_ended = worst.outcome, worst.reason
    if report.when == "teardown":
        texts = (report.caplog, report.capstdout, report.capstderr)
        item.stash[CAPTURED] = dict(zip(("log", "stdout", "stderr"), texts, strict=True))
    return report
