"""What the terminal says of a release, in a sentence that a stranger understands."""

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from msgspec.structs import replace

from harness.summary import (
    first_witness,
    headline,
    is_shown,
    news,
    write,
    write_table,
    write_witness,
)
from lab.undo import forget_leftover, leftovers, write_leftover
from reports.records import Ended, Explored, Known, SessionRecord, TestRecord, Verdict


def record(verdict: Verdict, **more: Any) -> TestRecord:
    given: dict[str, Any] = {"test": "t", "airflow": "3.x", "version": "3.x", "lab": "embedded"}
    return TestRecord(verdict=verdict, schema=1, schedulers=2, seed=1, **(given | more))


def test_a_release_that_broke_promises_is_told_in_numbers() -> None:
    group = [
        record("invalid", task_instances=47, duplicate_tries=1, duplicate_pods=1, refused_starts=1),
        record("valid", task_instances=282),
    ]
    said = headline(group)
    assert "Airflow 3.x with 2 schedulers scheduled 1 of 329 task instances twice" in said
    assert "1 worker was refused" in said


def test_a_release_that_broke_none_is_told_with_how_much_was_tried() -> None:
    said = headline([record("valid", task_instances=282)])
    assert said == "Airflow 3.x with 2 schedulers broke no promise in 282 task instances."


@pytest.mark.parametrize("verdict", ["unknown", "valid"])
def test_where_nothing_was_judged_nothing_is_said_to_be_kept(verdict: Verdict) -> None:
    """A verdict that is unknown, or rests on no task instance, shows nothing."""
    said = headline([record(verdict, task_instances=282 if verdict == "unknown" else 0)])
    assert "broke no promise" not in said
    assert said.startswith("Airflow 3.x: nothing was shown")


def test_a_session_without_any_verdict_says_so() -> None:
    ends: dict[str, Ended | None] = {
        a_test("a[", "3.0.6"): Ended("skipped"),
        a_test("b[", "3.0.6"): Ended("skipped"),
        a_test("c[", "3.0.6"): Ended("broken"),
        a_test("d[", "3.0.6"): None,
    }
    said = headline([], session("3.0.6", ends))
    told = "nothing was shown, for no test could tell"
    assert said == f"Airflow 3.0.6: {told} (2 skipped, 1 broken, 1 not run)."


def test_what_cannot_tell_is_counted_beside_what_can() -> None:
    kept, lost, slept = (a_test(f"{name}[", "3.0.6") for name in "abc")
    ends: dict[str, Ended | None] = {
        kept: Ended("passed"),
        lost: Ended("crashed"),
        slept: Ended("skipped"),
    }
    group = [judged(kept, "valid"), judged("t", "unknown", task_instances=500)]
    said = headline(group, session("3.0.6", ends))
    assert said.endswith("broke no promise in 47 task instances. 2 tests cannot tell.")


def test_a_test_that_died_once_shows_nothing_though_it_passed_when_it_was_run_again() -> None:
    test = a_test("a[", "3.0.6")
    said = headline([judged(test, "valid")], session("3.0.6", {test: Ended("crashed")}))
    assert said == "Airflow 3.x: nothing was shown, for no test could tell (1 crashed)."


def test_a_violation_is_shown_though_a_later_attempt_crashed_or_never_ended() -> None:
    broken = a_test("held[", "3.0.6")
    for end in (Ended("crashed"), None):
        terminal = Terminal()
        place = {Path("runs/20260101-000000-3.0.6"): session("3.0.6", {broken: end})}
        write_table(terminal, place, [judged(broken, "invalid", 1)])
        assert "invalid  1/47" in terminal.written


@pytest.mark.parametrize(
    ("end", "verdict", "word"),
    [
        (Ended("broken", reason="the lab is gone"), "valid", "broken"),
        (Ended("broken", reason="the verdict is unknown"), "unknown", "unknown"),
        (Ended("broken", reason="the lab is gone"), "invalid", "invalid"),
        (Ended("failed", reason="a known race stayed away"), "valid", "valid"),
    ],
)
def test_what_broke_after_a_valid_verdict_is_not_shown_as_valid(
    end: Ended, verdict: Verdict, word: str
) -> None:
    test = a_test("a[", "3.0.6")
    terminal = Terminal()
    place = {Path("runs/20260101-000000-3.0.6"): session("3.0.6", {test: end})}
    write_table(terminal, place, [judged(test, verdict)])
    assert terminal.written.split()[1] == word


def test_a_session_without_a_cache_has_nothing_left_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("HA_CHAOS_CACHE", str(tmp_path / "file" / "cache"))
    assert leftovers() == []


def test_a_release_that_scheduled_nothing_twice_is_told_by_the_promise_it_broke() -> None:
    group = [record("invalid", task_instances=4, violations={"queued-in-time": 1})]
    said = headline(group)
    assert said == "Airflow 3.x with 2 schedulers broke a promise: queued-in-time."


class Terminal:
    """Collects what is written, as pytest's terminal reporter would show it."""

    def __init__(
        self, width: int | None = None, *, colour: bool = False, verbose: int = 0, tb: str = "auto"
    ) -> None:
        self.written = ""
        self.words: list[tuple[str, dict[str, bool]]] = []
        self.isatty = width is not None
        self._tw = SimpleNamespace(fullwidth=width, hasmarkup=colour)
        self.config = SimpleNamespace(option=SimpleNamespace(verbose=verbose, tbstyle=tb))
        self.stats: dict[str, list[Any]] = {}

    def write(self, text: str, **markup: bool) -> None:
        self.written += text
        if markup:
            self.words.append((text, markup))

    def write_line(self, text: str) -> None:
        self.written += text + "\n"

    def section(self, title: str) -> None:
        self.write_line(f"=== {title} ===")


def judged(test: str, verdict: Verdict, violations: int = 0, **more: Any) -> TestRecord:
    given = {"task_instances": 47, "violations": {"unique-try": violations}, "test": test}
    return record(verdict, **(given | more))


def session(airflow: str, tests: dict[str, Ended | None]) -> SessionRecord:
    return SessionRecord(
        schema=1,
        session="20260101-000000",
        airflow=airflow,
        lab="embedded",
        schedulers=2,
        seed=1,
        started="2026-01-01T00:00:00Z",
        collected=list(tests),
        tests={test: end for test, end in tests.items() if end},
    )


def a_test(name: str, airflow: str) -> str:
    return f"suites/test_x.py::test_{name}embedded-{airflow}]"


def two_releases() -> tuple[dict[Path, SessionRecord], list[TestRecord]]:
    sessions, records = {}, []
    outcomes: list[tuple[str, Verdict, int]] = [("3.0.6", "invalid", 46), ("3.3.2", "valid", 0)]
    for airflow, verdict, violations in outcomes:
        held, died, never, lost = (
            a_test(name, airflow) for name in ("held[57618-start-", "died[", "never[", "lost[")
        )
        ends: dict[str, Ended | None] = {
            held: Ended("failed" if violations else "passed"),
            died: Ended("crashed", reason="worker 'gw0' crashed"),
            never: None,
            lost: Ended("broken", reason="no gate"),
        }
        sessions[Path(f"runs/20260101-000000-{airflow}")] = session(airflow, ends)
        records.append(judged(held, verdict, violations))
        records.append(judged(lost, "unknown", reasons=["the gate was not reached, " + "x" * 99]))
    return sessions, records


def lines_of(terminal: Terminal) -> list[str]:
    return [line.rstrip() for line in terminal.written.splitlines()]


def test_versions_stand_side_by_side() -> None:
    terminal = Terminal()
    write_table(terminal, *two_releases())
    assert lines_of(terminal)[:5] == [
        "                        3.0.6           3.3.2",
        "test_held[57618-start]  invalid  46/47  valid    0/47",
        "test_died               crashed         crashed",
        "test_never              not run         not run",
        "test_lost               unknown  0/47   unknown  0/47",
    ]


def test_one_version_has_room_for_what_was_broken() -> None:
    sessions, records = two_releases()
    one = dict(list(sessions.items())[:1])
    terminal = Terminal()
    write_table(terminal, one, records)
    assert lines_of(terminal)[0] == "test_held[57618-start]  invalid  46/47  new: unique-try 46"


def test_what_tells_nothing_says_why_in_a_line() -> None:
    terminal = Terminal(width=60)
    write_table(terminal, *two_releases())
    said = lines_of(terminal)
    assert "crashed: test_died on 3.0.6: worker 'gw0' crashed" in said
    assert "not run: test_never on 3.0.6: the session ended before it" in said
    assert any(line.startswith("unknown: test_lost on 3.3.2: the gate was") for line in said)


def test_many_tests_that_never_ran_are_one_line() -> None:
    ends: dict[str, Ended | None] = {a_test(f"t{number}[", "3.0.6"): None for number in range(9)}
    terminal = Terminal()
    write_table(terminal, {Path("runs/20260101-000000-3.0.6"): session("3.0.6", ends)}, [])
    told = [line for line in lines_of(terminal) if "ended before it" in line]
    assert told == ["not run, 9 of them: the session ended before it"]


@pytest.mark.parametrize("width", [50, 60, 80])
def test_the_table_is_no_wider_than_the_terminal(width: int) -> None:
    terminal = Terminal(width=width)
    write_table(terminal, *two_releases())
    assert max(map(len, lines_of(terminal))) <= width


def test_without_a_terminal_nothing_is_cut() -> None:
    terminal = Terminal()
    write_table(terminal, *two_releases())
    assert "x" * 99 in terminal.written


def test_only_the_words_of_a_verdict_have_a_colour() -> None:
    terminal = Terminal(width=80, colour=True)
    write_table(terminal, *two_releases())
    coloured = set(re.findall(r"\x1b\[(\d+)m([^\x1b]*)\x1b\[0m", terminal.written))
    assert coloured == {
        *(("31", "invalid"), ("31", "crashed"), ("32", "valid")),
        *(("33", "unknown"), ("33", "not run")),
    }
    plain = Terminal(width=80)
    write_table(plain, *two_releases())
    assert re.sub(r"\x1b\[\d+m", "", terminal.written) == plain.written


def test_what_has_not_enough_room_is_broken_and_nothing_is_left_out() -> None:
    test = a_test("held[57618-a-very-long-permutation-", "3.0.6")
    place = {Path("runs/20260101-000000-3.0.6"): session("3.0.6", {test: Ended("failed")})}
    broken = {"unique-try": 46, "single-live-pod": 12, "executed-once": 3}
    terminal = Terminal(width=50)
    write_table(terminal, place, [record("invalid", test=test, violations=broken)])
    assert max(map(len, lines_of(terminal))) <= 50
    rows = [line.split() for line in lines_of(terminal)]
    assert "".join(row[0] for row in rows[:3]).startswith(
        "test_held[57618-a-very-long-permutation]"
    )
    for word in ("46/0", "unique-try", "46,", "single-live-pod", "12,", "executed-once", "3"):
        assert any(word in row for row in rows)


def test_a_long_witness_is_told_in_fifteen_lines(tmp_path: Path) -> None:
    terminal = Terminal()
    deeds = [f"  {number} s" for number in range(30)]
    witness = "\n".join(["Airflow", *deeds, "unique-try: once a try", "Also broken: valid-start."])
    write_witness(terminal, judged("t", "invalid", 1, folder=str(tmp_path)), witness)
    said = lines_of(terminal)[1:]
    assert len(said) == 15
    assert said[:12] == ["Airflow", *deeds[:11]]
    assert said[12].startswith("  (19 lines more: ")
    assert said[13:] == ["unique-try: once a try", "Also broken: valid-start."]


def test_the_witness_that_is_printed_has_a_refused_worker_and_is_short(tmp_path: Path) -> None:
    records = []
    for name, witness in (
        ("short", "a\n"),
        ("long", "the worker was refused\n" + "x\n" * 9),
        ("best", "the worker was refused\n"),
        ("none", ""),
    ):
        (tmp_path / name).mkdir()
        (tmp_path / name / "witness.txt").write_text(witness)
        records.append(judged(name, "invalid", 1, folder=str(tmp_path / name)))
    found = first_witness(records)
    assert found is not None
    assert found[0].test == "best"
    assert first_witness([judged("t", "valid")]) is None
    records.append(judged("cut-short", "invalid", 1, folder=str(tmp_path / "nothing")))
    assert first_witness(records) == found


@pytest.mark.parametrize(
    ("tb", "failed", "shown"), [("auto", "t", True), ("no", "t", False), ("auto", "u", False)]
)
def test_a_witness_that_pytest_has_told_is_not_told_twice(
    tb: str, failed: str, shown: bool
) -> None:
    terminal = Terminal(tb=tb)
    terminal.stats["failed"] = [SimpleNamespace(nodeid=failed)]
    assert is_shown(terminal, judged("t", "invalid", 1)) is shown


def test_more_versions_than_fit_stand_in_blocks_below_each_other() -> None:
    sessions = {
        Path(f"runs/20260101-000000-3.0.{n}"): session(
            f"3.0.{n}", {a_test("held[", f"3.0.{n}"): Ended("passed")}
        )
        for n in range(9)
    }
    records = [judged(test, "valid") for each in sessions.values() for test in each.collected]
    terminal = Terminal(width=60)
    write_table(terminal, sessions, records)
    assert max(map(len, lines_of(terminal))) <= 60
    assert terminal.written.count("valid    0/47") == 9
    assert len([line for line in lines_of(terminal) if line.startswith("test_held")]) > 1


def test_what_stays_in_somebodys_database_is_told_with_its_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HA_CHAOS_CACHE", str(tmp_path))
    write_leftover("lab", "airflow at db", "host=db", ["oracle remove-audit"])
    terminal = Terminal()
    write(terminal, None, {})  # type: ignore[arg-type]
    assert "left in the database airflow at db" in terminal.written
    assert all(markup == {"red": True, "bold": True} for _, markup in terminal.words)
    assert (
        "export HA_CHAOS_DSN=host=db; .venv/bin/python -m oracle remove-audit" in terminal.written
    )
    forget_leftover("lab")
    assert leftovers() == []


RACE = Known("57618", "Twice", "", True, True, False, ["unique-try"], ["valid-start"])


def known(test: str, **violations: int) -> TestRecord:
    broken = {name.replace("_", "-"): count for name, count in violations.items()}
    return record("invalid", test=test, violations=broken, known=RACE, task_instances=47)


def test_what_is_new_is_said_before_what_is_known_and_apart_from_it() -> None:
    held = known(a_test("held[", "3.x"), unique_try=3, valid_start=1)
    frozen = known(a_test("frozen[", "3.x"), unique_try=1, executed_once=2)
    said = list(news([held, frozen, record("valid")]))
    assert said == [
        ("New:   1 (executed-once in test_frozen).", {"red": True}),
        ("Known: 1 race (57618).", {}),
    ]
    assert list(news([held])) == [("New:   none.", {"red": False}), said[1]]
    assert list(news([record("valid")])) == []


def test_a_race_that_a_release_is_said_not_to_have_is_new() -> None:
    repaired = replace(RACE, affected=False)
    broken = replace(known(a_test("held[", "3.x"), unique_try=3), known=repaired)
    assert [line for line, _ in news([broken])] == ["New:   1 (unique-try in test_held)."]


def test_the_table_begins_with_what_is_new_and_names_it_first() -> None:
    tests = [a_test(f"{name}[", "3.0.6") for name in ("clean", "held", "frozen")]
    ends: dict[str, Ended | None] = dict.fromkeys(tests, Ended("failed"))
    records = [
        judged(tests[0], "valid"),
        known(tests[1], unique_try=3),
        known(tests[2], unique_try=1, executed_once=2),
    ]
    terminal = Terminal()
    write_table(terminal, {Path("runs/20260101-000000-3.0.6"): session("3.0.6", ends)}, records)
    assert [" ".join(line.split()) for line in lines_of(terminal)[:3]] == [
        "test_frozen invalid 2/47 new: executed-once 2; unique-try 1",
        "test_clean valid 0/47",
        "test_held invalid 3/47 unique-try 3",
    ]


def test_an_exploration_is_told_in_rounds() -> None:
    test = a_test("explored[", "3.0.6")
    explored = record("valid", test=test, explored=Explored("defaults", 20, 4))
    assert headline([explored]).endswith("broke no promise in 16 explored rounds.")
    both = headline([explored, judged("t", "valid")])
    assert both.endswith("broke no promise in 47 task instances and 16 explored rounds.")
    terminal = Terminal()
    place = {Path("runs/20260101-000000-3.0.6"): session("3.0.6", {test: Ended("passed")})}
    write_table(terminal, place, [explored])
    assert lines_of(terminal)[0] == "test_explored  valid    0/16 rounds"


def test_the_witness_that_is_printed_is_of_what_is_new(tmp_path: Path) -> None:
    records = [known("known", unique_try=3), known("new", executed_once=1)]
    for number, each in enumerate(records):
        folder = tmp_path / each.test
        folder.mkdir()
        (folder / "witness.txt").write_text("the worker was refused\n" if not number else "x\n")
        records[number] = replace(each, folder=str(folder))
    found = first_witness(records)
    assert found is not None
    assert found[0].test == "new"
