"""The answers to workers come into the history from their file, and what is missing is told."""

import json
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from oracle.events import AnswerEvent, Row, TaskInstanceEvent, TaskInstanceKey
from recorder.answers import AnswerReader
from recorder.stream import DatabaseClock, RecorderError, Stream

TI = TaskInstanceKey("d", "r", "start")


def line(n: int, t: float = 5.0, **more: Any) -> str:
    written = {"n": n, "t": t, "asked": 4.0, "request": "state", "ti": "id-1", "status": 204}
    return json.dumps(written | {"given": True} | more) + "\n"


class Answers:
    """A file of answers, and its reader."""

    def __init__(self, folder: Path, before: str = "") -> None:
        self.path = folder / "answers.ndjson"
        self.path.write_text(before)
        self.stream = Stream(lambda: 9.0)
        self.reader = AnswerReader(self.path, DatabaseClock(), self.stream)
        self.reader.open()

    def add(self, text: str) -> None:
        with self.path.open("a") as file:
            file.write(text)
        self.reader.read()

    def seen(self) -> list[AnswerEvent]:
        return [each for each in self.stream.after(0)[1] if isinstance(each, AnswerEvent)]


def test_what_is_answered_from_now_on_is_told_with_its_task_instance(tmp_path: Path) -> None:
    answers = Answers(tmp_path, line(6) + line(7))
    row = Row("id-1", "running", 2)
    answers.stream.emit([TaskInstanceEvent(1.0, "update", TI, None, row, "api-server")])
    answers.add(line(8, state="success", host="pod-1"))
    assert answers.seen() == [
        AnswerEvent(5.0, "state", "id-1", TI, 2, "success", "pod-1", 204, True, "api-server")
    ]
    assert answers.stream.gaps == []


def test_a_row_that_was_never_seen_names_no_task_instance(tmp_path: Path) -> None:
    answers = Answers(tmp_path)
    answers.add(line(1, ti="id-2", status=None, given=False))
    [seen] = answers.seen()
    assert (seen.ti, seen.id, seen.acknowledged) == (None, "id-2", False)
    assert answers.stream.gaps == []


def test_its_clock_is_the_history_s() -> None:
    clock = DatabaseClock()
    clock.epoch = 100.0
    assert clock.at(107.0) == 7.0
    assert clock.at(time.monotonic()) == pytest.approx(clock.now(), abs=0.5)


def test_a_line_that_is_being_written_is_read_when_it_is_whole(tmp_path: Path) -> None:
    half, rest = line(1)[:9], line(1)[9:]
    answers = Answers(tmp_path, half)
    answers.add("")
    assert answers.seen() == []
    answers.add(rest)
    assert [each.status for each in answers.seen()] == [204]
    assert answers.stream.gaps == []


@pytest.mark.parametrize(
    ("added", "gap"),
    [
        (line(3), "after number 1 comes 3"),
        (line(1), "after number 1 comes 1"),
        ("{broken\n" + line(2), "cannot be understood"),
    ],
)
def test_what_is_missing_is_a_gap(tmp_path: Path, added: str, gap: str) -> None:
    answers = Answers(tmp_path, line(1))
    answers.add(added)
    [told] = answers.stream.gaps
    assert gap in told
    assert "answers to workers are missing" in told
    assert len(answers.seen()) == 1


def test_a_file_that_became_shorter_or_is_gone_is_a_gap(tmp_path: Path) -> None:
    answers = Answers(tmp_path, line(1) + line(2))
    answers.path.write_text("")
    answers.reader.read()
    answers.path.unlink()
    answers.reader.read()
    answers.reader.read()  # told once
    shorter, gone = answers.stream.gaps
    assert "has become shorter" in shorter
    assert "cannot be read: No such file" in gone


def test_a_file_that_is_not_there_at_the_beginning_ends_it(tmp_path: Path) -> None:
    reader = AnswerReader(tmp_path / "none", DatabaseClock(), Stream(lambda: 9.0))
    with pytest.raises(RecorderError, match="What was answered to workers cannot be read"):
        reader.open()


def test_a_lab_without_a_proxy_has_no_answers() -> None:
    stream = Stream(lambda: 9.0)
    reader = AnswerReader(None, DatabaseClock(), stream)
    reader.open()
    reader.read()
    assert stream.after(0)[1] == []


def test_it_is_read_until_it_is_told_to_stop(tmp_path: Path) -> None:
    answers, stop = Answers(tmp_path), threading.Event()
    thread = threading.Thread(target=answers.reader.run, args=(stop,))
    thread.start()
    with answers.path.open("a") as file:
        file.write(line(1))
    assert answers.stream.wait(lambda event: isinstance(event, AnswerEvent), 5.0).t == 5.0
    stop.set()
    thread.join(40)
    assert not thread.is_alive()
