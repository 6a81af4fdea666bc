"""The end of a session: one run folder an Airflow, and what the terminal says of it."""

import os
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.outcome import told_broken
from harness.session import RUNS, Session
from harness.table import Cell, Table
from lab import leftovers
from reports.folder import write_json
from reports.records import SessionRecord

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
    records = _records(terminal)
    by_folder = defaultdict(list)
    for record in records:
        by_folder[Path(record["folder"]).parent.parent].append(record)
    for folder, group in by_folder.items():
        _finish_folder(session, folder, group)
    for line in leftovers.told():
        terminal.write_line(line)
    if not sessions:
        return
    terminal.section("airflow-ha-chaos")
    for group in by_folder.values():
        terminal.write_line(headline(group))
    first = max(records, key=_telling) if any(record["witness"] for record in records) else None
    if terminal.config.option.verbose >= 0:
        if by_folder:
            terminal.write_line("")
        table(sessions, records).write(terminal)
        if first and not is_shown(terminal, first):
            tell_witness(terminal, first)
        terminal.write_line("")
    folders = [*by_folder, *(folder for folder in sessions if folder not in by_folder)]
    _whats_next(terminal, session, folders, first)


def table(sessions: Sessions, records: list[dict[str, Any]]) -> Table:
    """Lay the tests of all Airflows side by side; one that has no verdict has its outcome."""
    judged = {record["test"]: record for record in records}
    heads = [each.airflow for each in sessions.values()]
    made = Table(heads if len(heads) > 1 else [""])
    for column, (folder, each) in enumerate(sessions.items()):
        place = f"{each.lab}-{folder.name.removeprefix(each.session + '-')}"
        for test in each.collected:
            made.put(column, short(test, place), _cell(test, each, judged.get(test)))
    return made


def _cell(test: str, session: SessionRecord, record: dict[str, Any] | None) -> Cell:
    ended = session.tests.get(test)
    if ended is None:
        return Cell("not run", reason="the session ended before it")
    if ended.outcome == "crashed" or record is None:
        return Cell(ended.outcome, reason=ended.reason)
    most = max(record["violations"].values(), default=0)
    return Cell(
        record["verdict"],
        f"{most}/{record['task_instances']}",
        told_broken(record["violations"]),
        " ".join("; ".join(record["reasons"]).split()) if record["verdict"] == "unknown" else "",
    )


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


def _records(terminal: Any) -> list[dict[str, Any]]:
    reports = [report for group in terminal.stats.values() for report in group]
    found = {
        report.nodeid: value
        for report in reports
        for name, value in getattr(report, "user_properties", [])
        if name == "ha_chaos"
    }
    return [found[nodeid] for nodeid in sorted(found)]


def _telling(record: dict[str, Any]) -> tuple[bool, bool, bool, int]:
    """Rank witnesses: one is better than none, with a worker refused better, short ones best."""
    witness = record["witness"]
    overlapped = "previous_state running" in witness
    return bool(witness), "was refused" in witness, overlapped, -len(witness)


def headline(group: list[dict[str, Any]]) -> str:
    """Say in a sentence what a release did, over all tests of it."""
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
        _link(folder / name, Path(deciding["folder"]) / name)
    results = session.folder(session.options.airflow[0]) / "allure-results"
    if results.parent != folder:
        _link(folder / "allure-results", results)
    _link(RUNS / "latest", folder)


def _link(link: Path, target: Path) -> None:
    link.unlink(missing_ok=True)
    link.symlink_to(os.path.relpath(target, link.parent))


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
