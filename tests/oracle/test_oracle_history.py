"""A history is read as it was written, and nothing else is taken for one."""

from pathlib import Path

import msgspec
import pytest

from oracle import history
from oracle.events import (
    SCHEMA,
    AssumptionEvent,
    DagRunEvent,
    Event,
    FaultEvent,
    Header,
    HoldEvent,
    LedgerEvent,
    NoteEvent,
    PodEvent,
    Refusal,
    Row,
    TaskInstanceEvent,
    TaskInstanceKey,
    WorkerEvent,
)
from oracle.history import LINE_LIMIT, HistoryError, Reading, Writer, read

HEADER = Header(SCHEMA, "run-1", "3.0.6", "embedded", ["scheduler-1"], 7, 1762000000.5)
TI = TaskInstanceKey("d", "r", "t", 3)
EVENTS: list[Event] = [
    TaskInstanceEvent(0.1, "insert", TI, None, Row("id-1"), "api-server", 5),
    TaskInstanceEvent(0.2, "update", TI, Row("id-1"), Row("id-1", "queued", 1, 4, 2, "x"), "s", 6),
    DagRunEvent(0.3, "update", "d", "r", "queued", "running", "scheduler-1", 7),
    PodEvent(0.4, "modified", "pod-1", "uid-1", TI, 1, "Failed", 137, "OOMKilled", "2", True),
    WorkerEvent(0.5, "pod-1", "uid-1", TI, 1, 1, Refusal(409, "invalid_state", "running", "no")),
    LedgerEvent(0.6, "start", TI, 1, "pod-1", 42),
    FaultEvent(0.7, "begin", "freeze", "scheduler-1", "SIGSTOP"),
    HoldEvent(0.8, "held", "select", "scheduler-2", "before its row locks"),
    NoteEvent(0.9, "the flood begins"),
    AssumptionEvent(1.0, "load-reached", True, "47", ">= 40"),
]


@pytest.fixture
def stored(tmp_path: Path) -> Path:
    path = tmp_path / "history.ndjson"
    writer = Writer(path, HEADER)
    for event in EVENTS:
        writer.write(event)
    writer.close(2.0)
    return path


def complaint(path: Path) -> str:
    with pytest.raises(HistoryError) as caught:
        list(read(path)[1])
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_every_kind_of_event_is_read_as_it_was_written(stored: Path) -> None:
    header, events = read(stored)
    *body, end = events
    assert header == HEADER
    assert body == EVENTS
    assert (end.t, getattr(end, "events", None)) == (2.0, len(EVENTS))


def test_a_key_reads_like_airflow_writes_it() -> None:
    assert str(TI) == "d.t[3] @ r"
    assert str(TaskInstanceKey("d", "r", "t")) == "d.t @ r"


def test_a_history_is_not_written_over(stored: Path) -> None:
    before = stored.read_bytes()
    with pytest.raises(HistoryError, match="exists already"):
        Writer(stored, HEADER)
    assert stored.read_bytes() == before


def test_a_directory_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(HistoryError, match="cannot write history"):
        Writer(tmp_path / "missing" / "history.ndjson", HEADER)


def test_the_end_is_written_by_close_alone(tmp_path: Path) -> None:
    with Writer(tmp_path / "h", HEADER) as writer:
        end = writer.close(0.0)
    with Writer(tmp_path / "g", HEADER) as writer, pytest.raises(ValueError, match="close"):
        writer.write(end)


def test_what_was_written_survives_a_writer_that_dies(tmp_path: Path) -> None:
    writer = Writer(tmp_path / "h", HEADER)
    writer.write(EVENTS[0])
    _, events = read(tmp_path / "h")
    assert next(events) == EVENTS[0]
    with pytest.raises(HistoryError, match="truncated"):
        next(events)


@pytest.mark.parametrize("lines", range(1, len(EVENTS) + 1))
def test_a_history_cut_after_any_line_is_truncated(stored: Path, lines: int) -> None:
    whole = stored.read_bytes().splitlines(keepends=True)
    stored.write_bytes(b"".join(whole[:lines]))
    assert "truncated" in complaint(stored)


def test_a_history_cut_inside_a_line_is_truncated(stored: Path) -> None:
    stored.write_bytes(stored.read_bytes()[:-9])
    assert f"truncated: line {len(EVENTS) + 2} breaks off" in complaint(stored)


def test_a_history_that_lost_a_line_is_told_from_a_whole_one(stored: Path) -> None:
    whole = stored.read_bytes().splitlines(keepends=True)
    stored.write_bytes(b"".join(whole[:3] + whole[4:]))
    assert "lost lines: 10 events written, 9 read" in complaint(stored)


def test_a_history_that_goes_on_after_its_end_is_refused(stored: Path) -> None:
    stored.write_bytes(stored.read_bytes() * 2)
    assert "goes on after its end" in complaint(stored)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"\n", "not JSON"),
        (b"hello\n", "not JSON"),
        (b"\x7fELF\x02\x01\x01\x00\xff\xfe", "not JSON"),
        (b"[]\n", "not a header"),
        (b'{"kind":"note","t":0,"text":""}\n', "not a header"),
        (b'{"kind":"header"}\n', "schema None"),
        (b'{"kind":"header","schema":2}\n', "schema 2, this reader knows only 1"),
        (b'{"kind":"header","schema":1}\n', "broken header"),
        (b"x" * (LINE_LIMIT + 2), "longer than"),
    ],
)
def test_what_is_no_history_is_told_in_one_line(
    tmp_path: Path, content: bytes, message: str
) -> None:
    path = tmp_path / "h"
    path.write_bytes(content)
    assert message in complaint(path)


@pytest.mark.parametrize(
    "line",
    [
        b"\n",
        b"{}\n",
        b'{"kind":"surprise","t":1}\n',
        b'{"kind":"ti","t":1}\n',
        b'{"kind":"note","t":"late","text":""}\n',
        b'{"kind":"header","schema":1}\n',
        b'{"kind":"note","t":1,"text":"\xff"}\n',
    ],
)
def test_a_broken_line_is_told_with_its_number(stored: Path, line: bytes) -> None:
    whole = stored.read_bytes().splitlines(keepends=True)
    stored.write_bytes(b"".join([*whole[:4], line, *whole[4:]]))
    assert "line 5 is no event" in complaint(stored)


def test_a_missing_file_and_a_directory_are_told(tmp_path: Path) -> None:
    assert "No such file" in complaint(tmp_path / "missing")
    assert "directory" in complaint(tmp_path)


def test_a_history_that_calls_a_hold_a_gate_is_read_in_the_present_words() -> None:
    seen = list(read(Path(__file__).parent / "old" / "gate.ndjson")[1])
    holds = [event for event in seen if isinstance(event, HoldEvent)]
    assert [event.op for event in holds] == ["hold", "held", "release"]
    assert {(event.name, event.process) for event in holds} == {("inside-select", "scheduler-2")}
    assumptions = [event.name for event in seen if isinstance(event, AssumptionEvent)]
    assert "hold-reached" in assumptions
    assert "gate-reached" not in assumptions


@pytest.mark.parametrize("op", ["ajar", "hold", 7])
def test_an_old_event_of_a_hold_says_what_old_ones_said_or_is_none(
    stored: Path, op: object
) -> None:
    line = msgspec.json.encode(
        {"kind": "gate", "t": 1.0, "op": op, "name": "select", "process": "scheduler-2"}
    )
    whole = stored.read_bytes().splitlines(keepends=True)
    stored.write_bytes(b"".join([*whole[:4], line, b"\n", *whole[4:]]))
    assert "line 5 is no event" in complaint(stored)


@pytest.mark.parametrize("block", [1, 7, 64, 300, 4096])
def test_a_history_is_read_alike_in_blocks_of_any_size(
    stored: Path, monkeypatch: pytest.MonkeyPatch, block: int
) -> None:
    monkeypatch.setattr(history, "_BLOCK", block)
    header, events = read(stored)
    assert header == HEADER
    assert list(events)[:-1] == EVENTS
    whole = stored.read_bytes().splitlines(keepends=True)
    stored.write_bytes(b"".join([*whole[:4], b"\n", *whole[4:]]))
    assert "line 5 is no event" in complaint(stored)
    stored.write_bytes(b"".join(whole) * 2)
    assert f"goes on after its end, at line {len(EVENTS) + 3}" in complaint(stored)


@pytest.mark.parametrize("block", [1, 64, 300, 4096])
@pytest.mark.parametrize("every", [1, 3, 100])
def test_what_came_last_can_be_had_once_more(
    stored: Path, monkeypatch: pytest.MonkeyPatch, block: int, every: int
) -> None:
    monkeypatch.setattr(history, "_BLOCK", block)
    reading = Reading(stored)
    given: list[Event] = []
    again: list[Event] = []
    for number, event in enumerate(reading.events(), 1):
        given.append(event)
        if number % every == 0:
            again += reading.latest()
            assert again == given
    assert again + list(reading.latest()) == given


@pytest.mark.parametrize("latest", [0, 200, 500])
def test_of_what_came_last_only_so_much_is_read_once_more(
    stored: Path, monkeypatch: pytest.MonkeyPatch, latest: int
) -> None:
    monkeypatch.setattr(history, "LATEST", latest)
    reading = Reading(stored)
    given = list(reading.events())
    again = list(reading.latest())
    assert again == given[len(given) - len(again) :]
    assert len(again) < len(given)
