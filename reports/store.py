"""Reads what sessions left: every run folder under some paths, and what is wrong with any.

A folder that is half-written, foreign or of another schema is a problem in one line, never a
traceback: a report goes on without it, and the gate cannot tell.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import msgspec

from common.errors import UserError
from reports.records import GRAVITY, SCHEMA, SessionRecord, TestRecord

SESSION = "session.json"
VERDICT = "verdict.json"

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


@dataclass(frozen=True)
class Shelf:
    """All runs that were found, the oldest first."""

    runs: tuple[RunFolder, ...] = field(default=())

    @property
    def tests(self) -> Iterator[TestRecord]:
        """Go through the tests of all runs."""
        for run in self.runs:
            yield from run.tests

    @property
    def problems(self) -> list[str]:
        """Return what is wrong with any run, one line each."""
        return [problem for run in self.runs for problem in run.problems]


def read_shelf(paths: Sequence[Path]) -> Shelf:
    """Read every run folder at or below `paths`.

    Raises UserError when a path does not exist, or when there is no run at all.
    """
    for path in paths:
        if not path.exists():
            raise UserError(f"{path} does not exist.", "Give a run folder, or a folder of runs.")
    folders = sorted({run for path in paths for run in _run_folders(path)}, key=_age)
    if not folders:
        where = ", ".join(map(str, paths))
        raise UserError(f"There is no run in {where}.", "Make one: pytest suites/ -n 8")
    return Shelf(tuple(read_run(folder) for folder in folders))


def _age(folder: Path) -> tuple[str, str]:
    return folder.name, str(folder)


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
    tests = []
    for path in sorted((folder / "tests").glob("*"), key=_attempt):
        if path.is_dir() and (record := _read(path / VERDICT, TestRecord, problems)):
            tests.append(msgspec.structs.replace(record, folder=str(path)))
    if session is not None and session.ended is None:
        problems.append(f"{folder}: the session did not come to its end")
    worst = worst_attempts(tests)
    others = tuple(record for record in tests if record not in worst)
    return RunFolder(folder, session, worst, tuple(problems), others)


def worst_attempts(records: Iterable[TestRecord]) -> tuple[TestRecord, ...]:
    """Keep of each test the attempt that stands for it: the worst, and of those the last.

    What a later attempt did not show is not undone by it.
    """
    kept: dict[str, TestRecord] = {}
    for record in records:
        before = kept.get(record.test)
        if before is None or GRAVITY.index(record.verdict) <= GRAVITY.index(before.verdict):
            kept[record.test] = record
    return tuple(kept.values())


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
        problems.append(f"{path} is no whole {path.name}: {error}")
    return None


class _Schema(msgspec.Struct):
    schema: int | None = None
