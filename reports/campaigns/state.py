"""What a bisect keeps, so that it goes on where it was stopped, by Ctrl-C or SIGKILL.

    reports/bisects/<name>.json      what is asked, the releases, and the steps that are decided
    reports/bisects/<name>/<key>/    the run folders of an Airflow, by the key of its installed code

The file is written whole after every step. A step under way is not in it: its runs are, in their
folder, and count when it is taken up again.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec

from common.errors import UserError
from common.paths import PROJECT
from lab.environments.request import describe
from reports.campaigns.sessions import Ask, Plan, ask, folder_name
from reports.campaigns.step import StopRule, Tried, decide
from reports.records import TestRecord
from reports.store import RunFolder, read_runs
from run.folder import write_json

log = logging.getLogger(__name__)

SCHEMA = 2
"""Of 1, the environments were links: what was typed into another one was in the release, too."""

BISECTS = PROJECT / "reports" / "bisects"


class State(msgspec.Struct, kw_only=True):
    """A bisect's file.

    `releases` are those that a search chooses from, by how they were chosen, so that the index is
    asked once. `steps` are by Airflow, or by key where code can change under a name.
    """

    schema: int
    plan: Plan
    rule: StopRule = msgspec.field(name="patience")
    ends: list[str]
    releases: dict[str, list[str]] = {}
    steps: dict[str, Tried] = {}


def open_state(path: Path, asked: State, *, seed_given: bool) -> State:
    """Return the state of a bisect that was begun, or `asked` where there is none.

    Raises UserError if the file cannot be read, or asks something else.
    """
    if not path.exists():
        return asked
    try:
        there = msgspec.json.decode(path.read_bytes(), type=State)
    except msgspec.MsgspecError as error:
        raise UserError(f"{path} is not a bisect: {error}", "Give another --name.") from None
    seed = asked.plan.seed if seed_given else there.plan.seed
    meant = msgspec.structs.replace(asked, plan=replace(asked.plan, seed=seed))
    if _asks(there) != _asks(meant):
        raise UserError(
            f"{path} is of a bisect that asks something else.",
            "Give another --name, or the same options as then.",
        )
    return there


def _asks(state: State) -> tuple[int, Plan, StopRule, list[str]]:
    return state.schema, state.plan, state.rule, state.ends


@dataclass(frozen=True)
class Sessions:
    """Judges Airflows for a search; what is decided is written down, and known without a run.

    What became of a release is known by its name; of a wheel or a checkout by the key of its code,
    for that may change under its name.
    """

    path: Path
    state: State
    ask: Ask = ask
    named: Callable[[Plan, str], str] = folder_name

    def judge(self, airflow: str) -> Tried:
        """Return what becomes of an Airflow; one that is not known takes a session or more."""
        release = describe(airflow).kind == "version"
        known = self._known(airflow) if release else None
        if known is None:
            try:
                key = self.named(self.state.plan, airflow)
            except UserError as error:
                return self._keep(airflow, Tried(airflow, "skipped", reason=error.message))
            known = None if release else self._known(key)
            if known is None:
                tried = self._decide(airflow, self.path.with_suffix("") / key)
                return self._keep(airflow if release else key, tried)
        log.info("%s (known)", known.text())
        return known

    def _known(self, name: str) -> Tried | None:
        """Return what became of an Airflow; what could not even be run is asked again."""
        tried = self.state.steps.get(name)
        return tried if tried and (tried.runs or tried.verdict != "skipped") else None

    def _decide(self, airflow: str, place: Path) -> Tried:
        def session(spec: str) -> Sequence[TestRecord]:
            log.info("%s: a session", spec)
            asked = self.ask(self.state.plan, spec, place)
            return [each for run in asked.folders for each in _told(run)]

        try:
            left_over = [each for run in read_runs([place]).folders for each in _told(run)]
        except UserError:
            left_over = []
        return decide(airflow, session, self.state.rule, left_over)

    def _keep(self, name: str, tried: Tried) -> Tried:
        self.state.steps[name] = tried
        save(self.path, self.state)
        log.info("%s", tried.text())
        return tried


def _told(run: RunFolder) -> list[TestRecord]:
    """Return what a run's tests recorded; one that ended without a record could not tell."""
    told = list(run.tests)
    if run.session is None or not told:
        return told
    done = {record.test for record in told}
    done |= {test for test, end in run.session.tests.items() if end.outcome == "skipped"}
    lost = (test for test in run.session.collected if test not in done)
    replace_record = msgspec.structs.replace
    unknown = {"verdict": "unknown", "violations": {}, "reasons": ["it ended without a verdict"]}
    return told + [replace_record(told[0], test=test, **unknown) for test in lost]


def save(path: Path, state: State) -> None:
    """Write the state, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, state)
