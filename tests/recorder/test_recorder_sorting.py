"""A history is put into order of time, however long it is."""

import random
from pathlib import Path

import pytest

from oracle.events import End, Header, NoteEvent
from oracle.history import Writer, read
from recorder.stream import sort_by_time

HEADER = Header(1, "r", "3.0.6", "cluster", [], 0, 1.0)


@pytest.mark.parametrize("count", [0, 1, 9, 10, 11, 95])
def test_it_is_sorted_by_time_and_what_was_at_one_time_stays_in_order(
    tmp_path: Path, count: int
) -> None:
    draw = random.Random(count)
    notes = [NoteEvent(float(draw.randrange(20)), str(number)) for number in range(count)]
    path = tmp_path / "history.ndjson"
    with Writer(path, HEADER) as writer:
        for note in notes:
            writer.write(note)
        writer.close(99.0)
    sort_by_time(path)
    header, events = read(path)
    assert header == HEADER
    assert list(events) == [*sorted(notes, key=lambda note: note.t), End(99.0, count)]
    assert [each.name for each in tmp_path.iterdir()] == ["history.ndjson"]
