"""The end of a session: one run folder an Airflow, and what the terminal says of it."""

import json
import os
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from harness.outcome import told_broken
from harness.session import RUNS, Session
from harness.table import Cell, Table
from lab.undo import leftovers
from reports.records import Ended, SessionRecord
from reports.store import VERDICT, read_run
from run.folder import attempts, point, write_json

_WITNESS_LINES = 15
_COUNTED = (
    *("runs", "task_instances", "pods", "refused_starts"),
    *("double_executions", "duplicate_pods", "duplicate_tries"),
)
_SHARED = ("airflow", "version", "lab", "schedulers", "seed", "verdict")
_RANK = {"invalid": 0, "unknown": 1, "valid": 2}

Sessions = Mapping[Path, SessionRecord]


def write(terminal: Any, session: Session, sessions: Sessions) -> None:
    """Write each Airflow's verdict.json and print the table, the first witness and what is next.

    `sessions` are the session.json of each run folder: they know also what has no verdict.
    """
    by_folder = {folder: judged(folder) for folder in sessions}
    records = [record for group in by_folder.values() for record in group]
    for folder, group in by_folder.items():
        if group:
            _finish_folder(session, folder, group)
    tell_leftovers(terminal)
    if not sessions:
        return
    terminal.section("airflow-ha-chaos")
    for folder, each in sessions.items():
        terminal.write_line(headline(by_folder[folder], each))
        for line in _run_again(by_folder[folder], each):
            terminal.write_line(line)
    first = max(records, key=_telling) if any(record["witness"] for record in records) else None
    if terminal.config.option.verbose >= 0:
        terminal.write_line("")
        table(sessions, records).write(terminal)
        if first and not is_shown(terminal, first):
            tell_witness(terminal, first)
        terminal.write_line("")
    _whats_next(terminal, session, [*sessions], first)


def table(sessions: Sessions, records: list[dict[str, Any]]) -> Table:
    """Lay the tests of all Airflows side by side; one that has no verdict has its outcome."""
    told = {record["test"]: record for record in records}
    heads = [each.airflow for each in sessions.values()]
    made = Table(heads if len(heads) > 1 else [""])
    for column, (folder, each) in enumerate(sessions.items()):
        place = f"{each.lab}-{folder.name.removeprefix(each.session + '-')}"
        for test in each.collected:
            made.put(column, short(test, place), _cell(test, each, told.get(test)))
    return made


def _cell(test: str, session: SessionRecord, record: dict[str, Any] | None) -> Cell:
    ended = session.tests.get(test)
    if ended is None and record is None:
        return Cell("not run", reason="the session ended before it")
    if ended and (record is None or _undone(ended, record["verdict"])):
        return Cell(ended.outcome, reason=ended.reason)
    assert record is not None
    most = max(record["violations"].values(), default=0)
    return Cell(
        record["verdict"],
        f"{most}/{record['task_instances']}",
        told_broken(record["violations"]),
        " ".join("; ".join(record["reasons"]).split()) if record["verdict"] == "unknown" else "",
    )


def _undone(ended: Ended, verdict: str) -> bool:
    """Tell whether how a test ended says more than its verdict, which was given before that."""
    if ended.outcome == "broken":
        return verdict == "valid"
    return ended.outcome == "crashed" and verdict != "invalid"


def short(test: str, place: str) -> str:
    """Return a test's name without its place, which the table's column says."""
    name = test.split("::")[-1].replace(place, "", 1)
    return name.replace("[-", "[").replace("-]", "]").replace("--", "-").replace("[]", "")


def is_shown(terminal: Any, record: dict[str, Any]) -> bool:
    """Tell whether pytest has told a witness already, as the text of a failure."""
    if terminal.config.option.tbstyle == "no":
        return False
    return any(report.nodeid == record["test"] for report in terminal.stats.get("failed", ()))


def tell_witness(terminal: Any, record: dict[str, Any]) -> None:
    """Print a witness; of a long one its beginning, its end, and where the whole of it is."""
    lines = record["witness"].splitlines()
    if (left := len(lines) - _WITNESS_LINES) > 0:
        end = len(lines)
        while end > _WITNESS_LINES // 2 and not lines[end - 1].startswith(" "):
            end -= 1
        where = _near(Path(record["folder"]) / "witness.txt")
        lines[end - left - 1 : end] = [f"  ({left + 1} lines more: {where})"]
    terminal.write_line("")
    for line in lines:
        terminal.write_line(line)


def judged(folder: Path) -> list[dict[str, Any]]:
    """Read what a run folder's tests were judged to be, of each its worst attempt, by test.

    What is on disk counts, and not what pytest heard last: a plugin may run a test again, and a
    worker may die after its test was judged.
    """
    found = []
    for record in read_run(folder).tests:
        path = Path(record.folder)
        witness = (path / "witness.txt").read_text() if record.broken else ""
        raw = json.loads((path / VERDICT).read_text())
        found.append({**raw, "witness": witness, "folder": str(path)})
    return sorted(found, key=lambda each: str(each["test"]))


def tell_leftovers(terminal: Any) -> None:
    """Print what could not be taken out of a database, with its command; it matters most."""
    for line in leftovers():
        terminal.write(line + "\n", red=True, bold=True)


def _run_again(group: list[dict[str, Any]], session: SessionRecord) -> Iterator[str]:
    """Name the tests of which there are several attempts: the worst of each counts."""
    for record in group:
        number = len(attempts(Path(record["folder"])))
        end = session.tests.get(record["test"])
        if number > 1 and end:
            name = record["test"].split("::")[-1]
            yield f"{name} ran {number} times; its worst end counts: {end.outcome}."


def _telling(record: dict[str, Any]) -> tuple[bool, bool, bool, int]:
    """Rank witnesses: one is better than none, with a worker refused better, short ones best."""
    witness = record["witness"]
    overlapped = "previous_state running" in witness
    return bool(witness), "was refused" in witness, overlapped, -len(witness)


def headline(group: list[dict[str, Any]], session: SessionRecord | None = None) -> str:
    """Say in a sentence what a release did, over all tests of it, and how many cannot tell.

    `session` knows also the tests that left no verdict.
    """
    silent = _silent(group, session)
    airflow = group[0]["airflow"] if group else session.airflow if session else ""
    group = [record for record in group if _shows(record, session)]
    if not group:
        why = ", ".join(f"{number} {how}" for how, number in silent.items())
        told = "nothing was shown, for no test could tell"
        return f"Airflow {airflow}: {told}{f' ({why})' if why else ''}."
    cannot = sum(number for how, number in silent.items() if how != "skipped")
    more = f" {cannot} {'test' if cannot == 1 else 'tests'} cannot tell." if cannot else ""
    return f"{_deeds(group)}{more}"


def _shows(record: dict[str, Any], session: SessionRecord | None) -> bool:
    """Tell whether a test shows anything: a violation, or that something was judged to its end."""
    end = session.tests.get(record["test"]) if session else None
    if record["verdict"] == "invalid":
        return True
    lost = end is not None and end.outcome in ("crashed", "broken")
    return bool(record["verdict"] == "valid" and record["task_instances"] and not lost)


def _silent(group: list[dict[str, Any]], session: SessionRecord | None) -> Counter[str]:
    """Count the tests that tell nothing, by what became of them."""
    silent = Counter(record["verdict"] for record in group if record["verdict"] == "unknown")
    known = {record["test"] for record in group if _shows(record, session)}
    known |= {record["test"] for record in group if record["verdict"] == "unknown"}
    for test in session.collected if session else ():
        end = session.tests.get(test) if session else None
        outcome = end.outcome if end else "not run"
        if outcome != "passed" and test not in known:
            silent[outcome] += 1
    return silent


def _deeds(group: list[dict[str, Any]]) -> str:
    """Say what a release did where something was judged."""
    total = {name: sum(record[name] for record in group) for name in _COUNTED}
    schedulers = max(record["schedulers"] for record in group)
    subject = f"Airflow {group[0]['airflow']} with {schedulers} schedulers"
    if not any(record["verdict"] == "invalid" for record in group):
        return f"{subject} broke no promise in {total['task_instances']} task instances."
    if not total["duplicate_tries"]:
        broken = {name for record in group for name, n in record["violations"].items() if n}
        return f"{subject} broke a promise: {', '.join(sorted(broken))}."
    refused = total["refused_starts"]
    workers = "1 worker was" if refused == 1 else f"{refused} workers were"
    return (
        f"{subject} scheduled {total['duplicate_tries']} of {total['task_instances']} task "
        f"instances twice: {total['duplicate_pods']} had two live pods, {workers} "
        f"refused at their start, {total['double_executions']} did their work twice."
    )


def _finish_folder(session: Session, folder: Path, records: list[dict[str, Any]]) -> None:
    ordered = sorted(records, key=lambda record: _RANK[record["verdict"]])
    deciding = ordered[0]
    violations: dict[str, int] = defaultdict(int)
    counts: dict[str, int] = defaultdict(int)
    decisions: dict[str, int] = defaultdict(int)
    for record in records:
        for name, number in record["violations"].items():
            violations[name] += number
        for name in _COUNTED:
            counts[name] += record[name]
        for scheduler, taken in record["decisions"].items():
            decisions[scheduler] += sum(taken.values())
    write_json(
        folder / "verdict.json",
        {
            **{key: deciding[key] for key in _SHARED},
            "violations": violations,
            **counts,
            "decisions": decisions,
            "time_to_first_violation": deciding["time_to_first_violation"],
            "assumptions": deciding["assumptions"],
            "deciding_test": deciding["test"],
            "tests": [{k: v for k, v in r.items() if k != "witness"} for r in records],
        },
    )
    for name in ("history.ndjson", "witness.txt"):
        point(folder / name, Path(deciding["folder"]) / name)
    results = session.folder(session.options.airflow[0]) / "allure-results"
    if results.parent != folder:
        point(folder / "allure-results", results)


def _whats_next(
    terminal: Any, session: Session, folders: list[Path], first: dict[str, Any] | None
) -> None:
    where = folders[0] if len(folders) == 1 else RUNS / f"{session.started}-*"
    terminal.write_line(f"report:   {_near(where)} (seed {session.options.seed})")
    if terminal.config.option.verbose < 0:
        return
    if first and (page := Path(first["folder"]) / "timeline.html").exists():
        terminal.write_line(f"timeline: {_near(page)}")
    terminal.write_line("next:     make report")


def _near(path: Path) -> str:
    return os.path.relpath(path)
