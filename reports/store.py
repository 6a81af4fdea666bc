"""Reads what sessions left: every run folder under some paths, and what is wrong with any.

A folder that is half-written, foreign or of another schema is a problem in one line, never a
traceback: a report goes on without it, and the gate cannot tell.
"""

import functools
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import msgspec

from common.errors import UserError
from oracle.old_names import ASSUMPTIONS, present_test
from reports.grouping import grouped
from reports.records import GRAVITY, SCENARIOS, SCHEMA, Known, SessionRecord, TestRecord
from scenarios.scenario import load_all

SESSION = "session.json"
VERDICT = "verdict.json"

_STAMP = re.compile(r"(\d{4})(\d\d)(\d\d)-(\d\d)(\d\d)(\d\d)")

_Record = TypeVar("_Record", SessionRecord, TestRecord)


@dataclass(frozen=True)
class RunFolder:
    """One run folder; `session` is None where session.json is missing or cannot be read.

    A test that ran more than once in its session (a plugin ran it again, or its worker died) is
    in `tests` with its worst attempt, and in `others` with the rest.
    """

    path: Path
    session: SessionRecord | None
    tests: tuple[TestRecord, ...]
    problems: tuple[str, ...] = ()
    others: tuple[TestRecord, ...] = ()

    @property
    def missing(self) -> tuple[str, ...]:
        """Return the tests that were collected and never ended."""
        if self.session is None:
            return ()
        return tuple(test for test in self.session.collected if test not in self.session.tests)

    @property
    def session_name(self) -> str:
        """Return the session that it is a part of; its name begins with it."""
        return self.session.session if self.session else self.path.name[: len("20261122-114208")]

    @property
    def started(self) -> str:
        """Return when it began, ISO 8601, by its name if need be; empty where neither says it."""
        if self.session:
            return self.session.started
        found = _STAMP.match(self.path.name)
        return "{}-{}-{}T{}:{}:{}Z".format(*found.groups()) if found else ""


@dataclass(frozen=True)
class Runs:
    """All run folders that were found, the oldest first."""

    folders: tuple[RunFolder, ...] = field(default=())

    @property
    def tests(self) -> Iterator[TestRecord]:
        """Go through the tests of all runs."""
        for run in self.folders:
            yield from run.tests

    @property
    def problems(self) -> list[str]:
        """Return what is wrong with any run, one line each."""
        return [problem for run in self.folders for problem in run.problems]


def read_runs(paths: Sequence[Path]) -> Runs:
    """Read every run folder at or below `paths`.

    Raises UserError when a path does not exist, or when there is no run at all.
    """
    for path in paths:
        if not path.exists():
            raise UserError(f"{path} does not exist.", "Give a run folder, or a folder of runs.")
    found = {run for path in paths for run in _run_folders(path)}
    folders = sorted(found, key=lambda folder: (folder.name, str(folder)))
    if not folders:
        where = ", ".join(map(str, paths))
        raise UserError(f"There is no run in {where}.", "Make one: pytest suites/ -n 8")
    return Runs(tuple(read_run(folder) for folder in folders))


def _run_folders(path: Path) -> Iterable[Path]:
    """Find run folders: they hold session.json or tests/.

    `latest` is only a link to one, which some archives turn into a second copy.
    """
    path = path.resolve()
    if (path / SESSION).exists() or (path / "tests").is_dir():
        yield path
        return
    for child in sorted(path.iterdir()) if path.is_dir() else ():
        if child.is_dir() and not child.is_symlink() and child.name != "latest":
            yield from _run_folders(child)


def read_run(folder: Path) -> RunFolder:
    """Read one run folder, whatever its state."""
    problems: list[str] = []
    session = _read(folder / SESSION, SessionRecord, problems)
    if session is not None:
        session = msgspec.structs.replace(
            session,
            collected=[present_test(test) for test in session.collected],
            tests={present_test(test): ended for test, ended in session.tests.items()},
        )
    tests = []
    conditions = session.conditions if session else ""
    for path in sorted((folder / "tests").glob("*"), key=_attempt):
        if path.is_dir() and (record := _read(path / VERDICT, TestRecord, problems)):
            tests.append(_in_present_words(record, path, conditions))
    if session is not None and session.ended is None:
        problems.append(f"{folder}: the session did not come to its end")
    worst = worst_attempts(tests)
    others = tuple(record for record in tests if record not in worst)
    return RunFolder(folder, session, worst, tuple(problems), others)


def _in_present_words(record: TestRecord, folder: Path, conditions: str) -> TestRecord:
    """Give a record its place, and the names that its test and assumptions have now."""
    return msgspec.structs.replace(
        record,
        folder=str(folder),
        conditions=conditions,
        test=present_test(record.test),
        known=record.known and _with_what_follows(record.known),
        assumptions=[
            msgspec.structs.replace(each, name=ASSUMPTIONS.get(each.name, each.name))
            for each in record.assumptions
        ],
    )


def _with_what_follows(known: Known) -> Known:
    """Give a race of an older record what its scenario says now of what breaks in its wake."""
    if known.follows is not None:
        return known
    return msgspec.structs.replace(known, follows=_follows().get(known.scenario, []))


@functools.cache
def _follows() -> dict[str, list[str]]:
    return {name: sorted(each.follows) for name, each in load_all(SCENARIOS).items()}


def worst_attempts(records: Iterable[TestRecord]) -> tuple[TestRecord, ...]:
    """Keep of each test the attempt that stands for it: the worst, and of those the last.

    What a later attempt did not show is not undone by it. Of violations the worst is what breaks
    most that no known race explains, then what breaks most.
    """
    attempts = grouped(records, lambda record: record.test).values()
    return tuple(min(reversed(each), key=_gravity) for each in attempts)


def _gravity(record: TestRecord) -> tuple[int, int, int]:
    return GRAVITY.index(record.verdict), -len(record.new), -len(record.broken)


def _attempt(path: Path) -> tuple[str, int]:
    """Sort the folders of a test's attempts: the tenth comes after the second."""
    name, _, number = path.name.rpartition(".")
    return (name, int(number)) if name and number.isdigit() else (path.name, 1)


def _read(path: Path, kind: type[_Record], problems: list[str]) -> _Record | None:
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        problems.append(f"{path.parent}: {path.name} is missing; the run was not finished")
        return None
    except OSError as error:
        problems.append(f"{path} cannot be read: {error.strerror}")
        return None
    try:
        schema = msgspec.json.decode(data, type=_Schema).schema
        if schema == SCHEMA:
            return msgspec.json.decode(data, type=kind)
        problems.append(
            f"{path} has schema {schema}, and this suite reads {SCHEMA}: run the tests again"
        )
    except msgspec.MsgspecError as error:
        problems.append(f"{path} is not a whole {path.name}: {error}")
    return None


class _Schema(msgspec.Struct):
    schema: int | None = None
