"""Keeps session.json true while a session runs: what was to run, and how each test ended.

The process that speaks for the session keeps it: under pytest-xdist the controller, which outlives
a worker that dies. A reader of a session that was killed sees what it left undone.
"""

import logging
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from common.files import write_whole
from common.redaction import excerpt
from harness.markers import params_of, scenario_of
from harness.options import Options
from harness.preflight import looks_only, room_on_disk
from harness.session import RUNS, Session
from lab.environments.request import describe
from lab.kind.helm.chart import named
from lab.kind.provision import told
from reports.allure.results import complete
from reports.grouping import grouped
from reports.records import SCHEMA, Ended, SessionRecord, worst_end
from reports.store import SESSION as FILE
from reports.store import Runs, read_run
from run.folder import point, write_json

log = logging.getLogger(__name__)


class Collected(msgspec.Struct, frozen=True):
    """A test that is to run; `airflow` is what --airflow said, empty for a test without a lab.

    `schedulers` are as many as it needs.
    """

    test: str
    airflow: str
    schedulers: int


def collected(items: Iterable[pytest.Item]) -> list[Collected]:
    """Return the tests that are to run."""
    return [
        Collected(
            item.nodeid,
            str(params_of(item).get("lab", "")),
            scenario_of(item).schedulers if item.get_closest_marker("scenario") else 1,
        )
        for item in items
    ]


def hand_over(session: Session, worker: str, items: Iterable[pytest.Item]) -> None:
    """Write down for the controller what an xdist worker collected: only workers collect there."""
    content = msgspec.json.encode(collected(items))
    write_whole(_handed_over(session, worker), content)  # by these exact names the controller asks


def _handed_over(session: Session, worker: str) -> Path:
    return session.pool().root / f"collected-{worker}.json"


class Register:
    """The plugin that keeps session.json, one in each run folder of the session.

    `results` is the folder of Allure's results, which are complete once the session is over;
    `sessions` is what session.json says, by run folder: nothing where no test was collected.
    """

    def __init__(self, session: Session, results: Path) -> None:
        self._session = session
        self._results = results
        self._collected: dict[str, Collected] = {}
        self.sessions: dict[Path, SessionRecord] = {}
        self._seconds: dict[str, float] = {}

    def goes_on(self, session: Session) -> None:
        """Take the session as it is once all that it needs is there."""
        self._session = session

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Begin, where this process collects for itself."""
        if not looks_only(session.config):
            self._begin(collected(session.items))

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self, node: Any, ids: Sequence[str]) -> None:
        """Begin with what the first worker collected; all of them collect the same."""
        if not self._collected and ids:
            data = _handed_over(self._session, node.gateway.id).read_bytes()
            self._begin(msgspec.json.decode(data, type=list[Collected]))

    def _begin(self, tests: list[Collected]) -> None:
        _refuse_too_few_schedulers(tests, self._session.options)
        self._collected = {each.test: each for each in tests}
        for folder, group in grouped(tests, lambda each: self._folder(each.test)).items():
            self.sessions[folder] = self._record(group)
            self._save(folder)
            point(RUNS / "latest", folder)

    def _folder(self, test: str) -> Path:
        """Return a test's run folder: that of its Airflow, or of the first where it has none."""
        each = self._collected.get(test)
        return self._session.folder((each and each.airflow) or self._session.options.airflow[0])

    def _record(self, group: list[Collected]) -> SessionRecord:
        session, options = self._session, self._session.options
        kind = options.kind
        airflow = group[0].airflow or options.airflow[0]
        chart = ""
        if options.lab == "kind":
            chart = named(kind.chart, kind.chart_version, describe(airflow).version)
        return SessionRecord(
            schema=SCHEMA,
            session=session.started,
            airflow=session.label(airflow),
            lab=options.lab,
            schedulers=options.schedulers,
            seed=options.seed,
            started=_now(),
            expect_known=options.expect_known,
            chart=chart,
            notes=told(),
            settings=dict(options.settings),
            dags=list(options.flood_dags) if options.dags else [],
            collected=[each.test for each in group],
        )

    def pytest_runtest_logreport(self, report: Any) -> None:
        """Take in how a test ended: its last phase says so, or xdist, of a worker that died."""
        if report.when == "call":
            self._seconds[report.nodeid] = round(report.duration, 3)
        elif report.when != "setup":
            outcome, reason = getattr(report, "ha_chaos_ended", (report.outcome, ""))
            if report.when != "teardown":  # xdist's own report has no phase
                outcome, reason = "crashed", excerpt(str(report.longrepr))
            self._end(report.nodeid, Ended(outcome, self._seconds.pop(report.nodeid, 0.0), reason))

    def _end(self, test: str, ended: Ended) -> None:
        """Write down how a test ended; one that is run again keeps its worst end."""
        folder = self._folder(test)
        if record := self.sessions.get(folder):
            record.tests[test] = worst_end(record.tests.get(test, ended), ended)
            self._save(folder)

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        """Write the end down, and for Allure what no worker could say.

        A session is not green for having run a test once more: pytest asks for the last attempt
        alone, and its exit status is corrected here.
        """
        ends = [end for record in self.sessions.values() for end in record.tests.values()]
        if exitstatus == pytest.ExitCode.OK and any(end.red for end in ends):
            session.exitstatus = exitstatus = pytest.ExitCode.TESTS_FAILED
        for folder, record in self.sessions.items():
            self.sessions[folder] = msgspec.structs.replace(
                record, ended=_now(), exit_status=int(exitstatus)
            )
            self._save(folder)
        try:
            complete(Runs(tuple(map(read_run, self.sessions))), self._results)
        except Exception:
            log.exception("Allure's results in %s are not complete", self._results)

    def _save(self, folder: Path) -> None:
        with room_on_disk():
            folder.mkdir(parents=True, exist_ok=True)
            write_json(folder / FILE, self.sessions[folder])


def _refuse_too_few_schedulers(tests: Iterable[Collected], options: Options) -> None:
    """Raise UsageError where a test needs more of them, before a lab boots for any.

    A deployment of somebody else's has as many as it has: there the test itself says so.
    """
    for each in tests if options.cluster is None else ():
        if each.schedulers > options.schedulers:
            raise pytest.UsageError(
                f"{each.test.rpartition('::')[2]} needs {each.schedulers} schedulers. "
                f"Give --schedulers {each.schedulers} or more, "
                "or leave such tests out: -m 'not scenario'."
            )


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
