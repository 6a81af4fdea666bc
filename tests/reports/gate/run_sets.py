"""What a constructed run set is, and what they are made of."""

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from tests.reports.gate.builder import KILL, QUIET, Case, RunsBuilder, night
from tests.reports.gate.policies import PLAIN

DOUBLE = {"executed-once": 1}
Build = Callable[[RunsBuilder], object]


@dataclass(frozen=True)
class Gated:
    """A run set: how it is made, its policy, the exit code, and words of the row that decides."""

    name: str
    exit_code: int
    build: Build
    deciding: str = ""
    policy: str = PLAIN
    options: tuple[str, ...] = ()


def good(runs: RunsBuilder) -> None:
    """A whole session of the newest release, and one of a known-bad one that shows its race."""
    runs.teeth()
    runs.session()


def then(*sessions: Build) -> Build:
    """Return what makes all of these, one after another."""

    def build(runs: RunsBuilder) -> None:
        for session in sessions:
            session(runs)

    return build


def with_teeth(*sessions: Build) -> Build:
    return then(lambda runs: runs.teeth(), *sessions)


def session(**changed: object) -> Build:
    return lambda runs: runs.session(night(**changed))  # type: ignore[arg-type]


def again(*tests: object) -> Build:
    return lambda runs: runs.session(tests)  # type: ignore[arg-type]


def half_written(runs: RunsBuilder) -> None:
    (runs.session([KILL]) / "session.json").unlink()


def truncated_verdict(runs: RunsBuilder) -> None:
    good(runs)
    path = next((runs.session([KILL]) / "tests").glob("*/verdict.json"))
    path.write_text(path.read_text()[:100])
    runs.session([KILL])


def foreign_schema(runs: RunsBuilder) -> None:
    good(runs)
    path = next((runs.session([KILL]) / "tests").glob("*/verdict.json"))
    path.write_text(json.dumps({**json.loads(path.read_text()), "schema": 99}))


def lost_verdict(runs: RunsBuilder) -> None:
    runs.teeth()
    shutil.rmtree(next((runs.session() / "tests").glob("test_scheduler_kill*")))


def speeds(
    slower: float,
    runs_each: int = 3,
    base: str = "3.2.0",
    quiet: Case = QUIET,
    **session: Any,
) -> Build:
    """Leave runs of a release, and slower ones of the next; `session` is about the latter."""

    def build(runs: RunsBuilder) -> None:
        runs.teeth()
        for _ in range(runs_each):
            runs.session(airflow=base, version="3.2.0")
            runs.session(night(quiet=replace(quiet, slower=slower)), **session)

    return build
