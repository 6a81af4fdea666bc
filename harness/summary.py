"""The end of a session: one run folder an Airflow, and what the terminal says of it."""

import os
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

from harness.session import RUNS, Session
from reports.folder import write_json

_WITNESS_LINES = 15
_COUNTED = (
    *("runs", "task_instances", "pods", "refused_starts"),
    *("double_executions", "duplicate_pods", "duplicate_tries"),
)
_SHARED = ("airflow", "version", "lab", "schedulers", "seed", "verdict")
_RANK = {"invalid": 0, "unknown": 1, "valid": 2}


def write(terminal: Any, session: Session) -> None:
    """Write each Airflow's verdict.json and print the table, the first witness and what is next."""
    records = _records(terminal)
    if not records:
        return
    terminal.section("airflow-ha-chaos")
    by_folder = defaultdict(list)
    for record in records:
        by_folder[Path(record["folder"]).parent.parent].append(record)
    for folder, group in by_folder.items():
        _finish_folder(session, folder, group)
    for record in records:
        terminal.write_line(_row(record))
    first = max(records, key=_telling) if any(record["witness"] for record in records) else None
    if first and not terminal.stats.get("failed"):
        terminal.write_line("")
        for group in by_folder.values():
            terminal.write_line(headline(group))
        terminal.write_line("")
        for line in first["witness"].splitlines()[:_WITNESS_LINES]:
            terminal.write_line(line)
    _whats_next(terminal, session, first)


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
    return (
        f"{subject} scheduled {total['duplicate_tries']} of {total['task_instances']} task "
        f"instances twice: {total['duplicate_pods']} had two live pods, {total['refused_starts']} "
        f"workers were refused at their start, {total['double_executions']} did their work twice."
    )


def _row(record: dict[str, Any]) -> str:
    test = record["test"].split("::")[-1]
    broken = ", ".join(f"{name} {count}" for name, count in record["violations"].items() if count)
    return (
        f"{record['verdict']:<8} {test:<62} {record['task_instances']:>4} task instances"
        f"{'; ' + broken if broken else ''}"
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


def _whats_next(terminal: Any, session: Session, first: dict[str, Any] | None) -> None:
    relative = os.path.relpath(RUNS / "latest")
    terminal.write_line("")
    terminal.write_line(f"report: {relative}/verdict.json, seed {session.options.seed}")
    if first:
        history = os.path.relpath(Path(first["folder"]) / "history.ndjson")
        python = os.path.relpath(sys.executable)
        terminal.write_line(f"next:   {python} -m oracle check {history} --witness")
