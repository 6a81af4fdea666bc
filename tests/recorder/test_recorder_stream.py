"""The stream: seen at once, written in order of time, remembered within bounds."""

import threading
from pathlib import Path

import pytest

from oracle.events import SCHEMA, End, Event, Header, NoteEvent
from oracle.history import read
from recorder import stream as recorder_stream
from recorder.stream import Stream

HEADER = Header(SCHEMA, "run", "3.0.6", "embedded", ["scheduler-1"], 1, 0.0)


def note(t: float, text: str = "") -> NoteEvent:
    return NoteEvent(t, text)


def history(path: Path) -> list[Event]:
    return list(read(path)[1])


def test_events_of_several_sources_are_written_and_heard_in_order_of_time(tmp_path: Path) -> None:
    heard: list[Event] = []
    stream = Stream(lambda: 9.0, [heard.append])
    stream.open(tmp_path / "h", HEADER)
    stream.emit([note(3), note(4)])
    stream.emit([note(1), note(2)])
    stream.settle(3.5)
    assert [event.t for event in heard] == [1, 2, 3]
    assert [event.t for event in history(stream.close())] == [1, 2, 3, 4, 9]
    assert heard == history(tmp_path / "h")
    assert isinstance(heard[-1], End)


def test_what_comes_too_late_is_put_in_its_place_in_the_file(tmp_path: Path) -> None:
    stream = Stream(lambda: 9.0)
    stream.open(tmp_path / "h", HEADER)
    stream.emit([note(5, "a"), note(5, "b")])
    stream.settle(6)
    stream.emit([note(2, "late"), note(5, "c")])
    *events, end = history(stream.close())
    assert [e.text for e in events if isinstance(e, NoteEvent)] == ["late", "a", "b", "c"]
    assert end == End(9.0, 4)
    assert [path.name for path in tmp_path.iterdir()] == ["h"]


def test_a_history_that_is_not_closed_is_refused_by_its_reader(tmp_path: Path) -> None:
    stream = Stream(lambda: 9.0)
    stream.open(tmp_path / "h", HEADER)
    stream.emit([note(1)])
    stream.settle(2)
    with pytest.raises(Exception, match="truncated"):
        history(tmp_path / "h")


def test_waiting_finds_what_was_seen_before_unless_it_is_too_old() -> None:
    stream = Stream(lambda: 9.0)
    stream.emit([note(1, "x"), note(2, "y"), note(3, "x")])
    assert stream.wait(lambda e: e == note(1, "x"), 0.0).t == 1
    found = stream.wait(lambda e: isinstance(e, NoteEvent) and e.text == "x", 0.0, since=2.0)
    assert found.t == 3


def test_waiting_finds_what_comes_from_another_thread() -> None:
    stream = Stream(lambda: 9.0)
    timer = threading.Timer(0.05, stream.emit, [[note(1), note(2, "wanted")]])
    timer.start()
    assert stream.wait(lambda e: e == note(2, "wanted"), 10.0).t == 2
    timer.join()


def test_waiting_in_vain_ends_with_a_timeout() -> None:
    stream = Stream(lambda: 9.0)
    stream.emit([note(1)])
    with pytest.raises(TimeoutError, match=r"within 0.2 s"):
        stream.wait(lambda e: e.t > 1, 0.2)


def test_only_so_many_events_are_remembered_and_the_newest_are(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(recorder_stream, "REMEMBERED", 10)
    stream = Stream(lambda: 9.0)
    for number in range(4):
        stream.emit([note(10 * number + each) for each in range(10)])
    assert stream.wait(lambda e: e.t >= 0, 0.0).t == 30
    total, fresh = stream.after(35)
    assert (total, [event.t for event in fresh]) == (40, [35, 36, 37, 38, 39])


def test_a_listener_that_fails_is_a_gap_and_the_others_go_on(tmp_path: Path) -> None:
    heard: list[Event] = []

    def failing(event: Event) -> None:
        raise ZeroDivisionError(event)

    stream = Stream(lambda: 9.0, [failing, heard.append])
    stream.open(tmp_path / "h", HEADER)
    stream.emit([note(1), note(2)])
    stream.close()
    assert len(heard) == 3
    assert stream.gaps == ["a listener failed: ZeroDivisionError"]


def test_a_gap_is_told_in_the_history_without_its_secrets(tmp_path: Path) -> None:
    stream = Stream(lambda: 1.0)
    stream.open(tmp_path / "h", HEADER)
    stream.gap("connection failed: password=hunter2")
    text = stream.close().read_text()
    assert "gap in this history: connection failed" in text
    assert "hunter2" not in text + stream.gaps[0]


def test_a_disk_that_is_full_fills_no_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = Stream(lambda: 9.0)
    stream.open(tmp_path / "h", HEADER)
    assert stream._writer is not None

    def full(_: Event) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr(stream._writer, "write", full)
    stream.emit([note(1)])
    with pytest.raises(OSError, match="No space"):
        stream.run(threading.Event())
    stream.emit([note(2)])
    assert stream._pending == []


def test_of_many_gaps_some_are_kept_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorder_stream, "MOST_GAPS", 3)
    stream = Stream(lambda: 9.0)
    for number in range(5):
        stream.gap(f"gap {number}")
    assert stream.gaps == ["gap 0", "gap 1", "gap 2"]
