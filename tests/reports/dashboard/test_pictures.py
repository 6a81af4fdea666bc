"""Which tests are drawn, and what is taken from before."""

import os
from pathlib import Path

from reports import records
from reports.dashboard.pictures import draw, worth_drawing
from reports.store import read_runs
from tests.reports.dashboard.folders import CLEAN, RACE, make_run


def read_tests(shelf: Path) -> list[records.TestRecord]:
    return list(read_runs([shelf]).tests)


def test_the_newest_of_a_test_is_drawn_and_every_violation_and_no_more(tmp_path: Path) -> None:
    for day, history in enumerate([RACE, CLEAN, RACE, CLEAN, CLEAN], 1):
        make_run(tmp_path, "3.3.2", history, started=f"2026110{day}-060000")
    tests = read_tests(tmp_path)
    chosen, left_out = worth_drawing(tests)
    assert [tests.index(test) for test in chosen] == [4, 2, 0]
    assert left_out == 0


def test_the_cap_leaves_out_the_oldest_violations_and_counts_them(tmp_path: Path) -> None:
    for day in range(1, 6):
        make_run(tmp_path, "3.0.6", RACE, started=f"2026110{day}-060000")
    tests = read_tests(tmp_path)
    chosen, left_out = worth_drawing(tests, first=[tests[0]], cap=3)
    assert [tests.index(test) for test in chosen] == [0, 4, 3]
    assert left_out == 2


def test_a_timeline_that_is_newer_than_its_history_is_taken_as_it_is(tmp_path: Path) -> None:
    make_run(tmp_path / "runs", "3.0.6", RACE)
    [test] = read_tests(tmp_path)
    timeline, history = (Path(test.folder, name) for name in ("timeline.html", "history.ndjson"))
    timeline.write_text("drawn before")
    draw(test, tmp_path / "first")
    assert (tmp_path / "first" / "timeline.html").read_text() == "drawn before"
    os.utime(history, (timeline.stat().st_mtime + 10,) * 2)
    drawing = draw(test, tmp_path / "second")
    assert "drawn before" not in (tmp_path / "second" / "timeline.html").read_text()
    assert "<svg" in drawing.picture


def test_a_test_that_cannot_be_drawn_says_why(tmp_path: Path) -> None:
    make_run(tmp_path, "3.0.6", RACE, CLEAN)
    gone, broken = read_tests(tmp_path)
    Path(gone.folder, "history.ndjson").unlink()
    Path(broken.folder, "history.ndjson").write_text("no history\n")
    assert draw(gone, tmp_path / "gone").trouble == "It left no history."
    assert "could not be drawn" in draw(broken, tmp_path / "broken").trouble
