"""The end of a session: one run folder an Airflow, and what the terminal says of it."""

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from harness.session import RUNS, Session
from harness.table import Table, VerdictCell
from lab.undo import leftovers
from oracle.counts import Counts
from reports.records import (
    GRAVITY,
    Ended,
    Judged,
    RunVerdict,
    SessionRecord,
    TestRecord,
    folder_airflow,
    name_of,
)
from reports.store import VERDICT, read_run
from run.folder import attempts, point, write_json

_WITNESS_LINES = 15
_COUNTED = tuple(each.name for each in fields(Counts) if each.name != "decisions")

Sessions = Mapping[Path, SessionRecord]


def write(terminal: Any, session: Session, sessions: Sessions) -> None:
    """Write each Airflow's verdict.json and print the table, the first witness and what is next.

    `sessions` are the session.json of each run folder: they know also what has no verdict. What
    is on disk counts, and not what pytest heard last: a plugin may run a test again, and a worker
    may die after its test was judged.
    """
    judged = {folder: sorted(read_run(folder).tests, key=lambda r: r.test) for folder in sessions}
    records = [record for group in judged.values() for record in group]
    for folder, group in judged.items():
        if group:
            _finish_folder(session, folder, group)
    for line in leftovers():  # it matters most: what stays in somebody's database
        terminal.write(f"{line}\n", red=True, bold=True)
    if not sessions:
        return
    terminal.section("airflow-ha-chaos")
    for folder, each in sessions.items():
        terminal.write_line(headline(judged[folder], each))
        for line, markup in news(judged[folder]):
            terminal.write_line(line, **markup)
        for line in _run_again(judged[folder], each):
            terminal.write_line(line)
    first = first_witness(records)
    if terminal.config.option.verbose >= 0:
        terminal.write_line("")
        write_table(terminal, sessions, records)
        if first and not is_shown(terminal, first[0]):
            write_witness(terminal, *first)
        terminal.write_line("")
    _write_next(terminal, session, [*sessions], first and first[0])


def write_table(terminal: Any, sessions: Sessions, records: Iterable[TestRecord]) -> None:
    """Print the tests of all Airflows side by side, as wide as the terminal, if it is one."""
    width = terminal._tw.fullwidth if terminal.isatty else None
    terminal.write(table(sessions, records).render(width, colour=terminal._tw.hasmarkup))


def table(sessions: Sessions, records: Iterable[TestRecord]) -> Table:
    """Lay the tests of all Airflows side by side; one that has no verdict has its outcome."""
    by_test = {record.test: record for record in records}
    heads = [each.airflow for each in sessions.values()]
    made = Table(heads if len(heads) > 1 else [""])
    for column, (folder, each) in enumerate(sessions.items()):
        airflows = {folder_airflow(folder), each.airflow}
        for test in sorted(each.collected, key=lambda test: not _is_new(by_test.get(test))):
            name = name_of(test, each.lab, airflows).short
            made.put(column, name, _cell(each.tests.get(test), by_test.get(test)))
    return made


def _cell(ended: Ended | None, record: TestRecord | None) -> VerdictCell:
    if ended is None and record is None:
        return VerdictCell("not run", reason="the session ended before it")
    if ended and (record is None or _says_more(ended, record)):
        return VerdictCell(ended.outcome, reason=ended.reason)
    assert record is not None
    most = max(record.violations.values(), default=0)
    of = f"{record.explored.judged} rounds" if record.explored else record.task_instances
    return VerdictCell(
        record.verdict,
        f"{most}/{of}",
        _broken(record),
        " ".join("; ".join(record.reasons).split()) if record.verdict == "unknown" else "",
    )


def _is_new(record: TestRecord | None) -> bool:
    return record is not None and bool(record.new)


def _broken(record: TestRecord) -> str:
    """Name what a test broke, and first what of it no known race explains."""
    text = {name: f"{name} {count}" for name, count in record.violations.items() if count}
    new = [text[name] for name in text if name in record.new]
    known = [text[name] for name in text if name not in record.new]
    return "; ".join(filter(None, (f"new: {', '.join(new)}" if new else "", ", ".join(known))))


def _says_more(ended: Ended, record: TestRecord) -> bool:
    """Tell whether how a test ended says more than its verdict, which was given before that."""
    if ended.outcome == "broken":
        return record.verdict == "valid"
    return ended.outcome == "crashed" and record.verdict != "invalid"


def first_witness(records: Iterable[TestRecord]) -> tuple[TestRecord, str] | None:
    """Choose the witness to print: what is new first, then a refused worker, and a short one."""
    files = ((record, Path(record.folder) / "witness.txt") for record in records if record.broken)
    found = [(record, file.read_text()) for record, file in files if file.exists()]

    def rank(each: tuple[TestRecord, str]) -> tuple[bool, bool, bool, int]:
        record, text = each
        refused = "was refused" in text, "previous_state running" in text
        return bool(record.new), *refused, -len(text)

    return max((each for each in found if each[1]), key=rank, default=None)


def is_shown(terminal: Any, record: TestRecord) -> bool:
    """Tell whether pytest has printed a witness already, as the text of a failure."""
    if terminal.config.option.tbstyle == "no":
        return False
    return any(report.nodeid == record.test for report in terminal.stats.get("failed", ()))


def write_witness(terminal: Any, record: TestRecord, witness: str) -> None:
    """Print a witness; of a long one its beginning, its end, and where the whole of it is."""
    lines = witness.splitlines()
    if (left := len(lines) - _WITNESS_LINES) > 0:
        end = len(lines)
        while end > _WITNESS_LINES // 2 and not lines[end - 1].startswith(" "):
            end -= 1
        where = os.path.relpath(Path(record.folder) / "witness.txt")
        lines[end - left - 1 : end] = [f"  ({left + 1} lines more: {where})"]
    for line in ("", *lines):
        terminal.write_line(line)


def _run_again(group: Iterable[TestRecord], session: SessionRecord) -> Iterator[str]:
    """Name the tests of which there are several attempts: the worst of each counts."""
    for record in group:
        number = len(attempts(Path(record.folder)))
        end = session.tests.get(record.test)
        if number > 1 and end:
            name = record.test.split("::")[-1]
            yield f"{name} ran {number} times; its worst end counts: {end.outcome}."


def headline(group: Sequence[TestRecord], session: SessionRecord | None = None) -> str:
    """Say in a sentence what a release did, over all tests of it, and how many are inconclusive.

    `session` knows also the tests that left no verdict.
    """
    ends = session.tests if session else {}
    showing = [record for record in group if _shows(record, ends.get(record.test))]
    unknown = [record for record in group if record.verdict == "unknown"]
    inconclusive = Counter[str](record.verdict for record in unknown)
    known = {record.test for record in (*showing, *unknown)}
    for test in session.collected if session else ():
        outcome = ends[test].outcome if test in ends else "not run"
        if outcome != "passed" and test not in known:
            inconclusive[outcome] += 1
    if not showing:
        airflow = group[0].airflow if group else session.airflow if session else ""
        why = ", ".join(f"{number} {how}" for how, number in inconclusive.items())
        shown = "nothing was shown, for no test could tell"
        return f"Airflow {airflow}: {shown}{f' ({why})' if why else ''}."
    cannot = sum(number for how, number in inconclusive.items() if how != "skipped")
    more = f" {cannot} {'test' if cannot == 1 else 'tests'} cannot tell." if cannot else ""
    return f"{_deeds(showing)}{more}"


def news(group: Iterable[TestRecord]) -> Iterator[tuple[str, dict[str, bool]]]:
    """Say what is new where a promise was broken, and apart from it which known races showed."""
    broken = [record for record in group if record.verdict == "invalid"]
    if not broken:
        return
    new = [f"{', '.join(sorted(each.new))} in {each.name.short}" for each in broken if each.new]
    text = f"{len(new)} ({'; '.join(new)})" if new else "none"
    yield f"New:   {text}.", {"red": bool(new)}
    if known := sorted({race.scenario for record in broken for race in record.showed}):
        races = "race" if len(known) == 1 else "races"
        yield f"Known: {len(known)} {races} ({', '.join(known)}).", {}


def _shows(record: TestRecord, end: Ended | None) -> bool:
    """Tell whether a test shows anything: a violation, or that something was judged to its end."""
    lost = end is not None and end.outcome in ("crashed", "broken")
    did = record.explored.judged if record.explored else record.task_instances
    judged = record.verdict == "valid" and did > 0
    return record.verdict == "invalid" or (judged and not lost)


def _deeds(group: Sequence[TestRecord]) -> str:
    """Say what a release did where something was judged."""
    total = _totals(group)
    schedulers = max(record.schedulers for record in group)
    subject = f"Airflow {group[0].airflow} with {schedulers} schedulers"
    if not any(record.verdict == "invalid" for record in group):
        return f"{subject} broke no promise in {_judged(total['task_instances'], group)}."
    if not total["duplicate_tries"]:
        broken = frozenset[str]().union(*(record.broken for record in group))
        return f"{subject} broke a promise: {', '.join(sorted(broken))}."
    refused = total["refused_starts"]
    workers = "1 worker was" if refused == 1 else f"{refused} workers were"
    return (
        f"{subject} scheduled {total['duplicate_tries']} of {total['task_instances']} task "
        f"instances twice: {total['duplicate_pods']} had two live pods, {workers} "
        f"refused at their start, {total['double_executions']} did their work twice."
    )


def _judged(task_instances: int, group: Iterable[TestRecord]) -> str:
    rounds = sum(record.explored.judged for record in group if record.explored)
    parts = [f"{task_instances} task instances"] if task_instances or not rounds else []
    return " and ".join([*parts, f"{rounds} explored rounds"] if rounds else parts)


def _totals(records: Sequence[TestRecord]) -> dict[str, int]:
    return {name: sum(getattr(record, name) for record in records) for name in _COUNTED}


def _finish_folder(session: Session, folder: Path, records: Sequence[TestRecord]) -> None:
    """Write the folder's verdict.json, and lead from it to what its worst test left."""
    worst = min(records, key=lambda record: GRAVITY.index(record.verdict))
    violations, decisions = Counter[str](), Counter[str]()
    for record in records:
        violations.update(record.violations)
        decisions.update({name: sum(taken.values()) for name, taken in record.decisions.items()})
    of_worst = {name: getattr(worst, name) for name in Judged.__struct_fields__}
    verdict = RunVerdict(
        **of_worst | {"violations": dict(violations)} | _totals(records),
        decisions=dict(decisions),
        deciding_test=worst.test,
        tests=list(records),
    )
    write_json(folder / VERDICT, verdict)
    for name in ("history.ndjson", "witness.txt"):
        if (target := Path(worst.folder) / name).exists():  # an exploration keeps that of a find
            point(folder / name, target)
    if session.results.parent != folder:
        point(folder / "allure-results", session.results)


def _write_next(
    terminal: Any, session: Session, folders: Sequence[Path], first: TestRecord | None
) -> None:
    where = folders[0] if len(folders) == 1 else RUNS / f"{session.started}-*"
    terminal.write_line(f"report:   {os.path.relpath(where)} (seed {session.options.seed})")
    if terminal.config.option.verbose < 0:
        return
    if first and (page := Path(first.folder) / "timeline.html").exists():
        terminal.write_line(f"timeline: {os.path.relpath(page)}")
    terminal.write_line("next:     make report")
