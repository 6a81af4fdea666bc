"""Histories that are broken, foreign, empty or dangerous to show."""

import re
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from msgspec.structs import replace

from common.errors import UserError
from oracle.events import (
    End,
    Event,
    FaultEvent,
    Header,
    HoldEvent,
    NoteEvent,
    WorkerEvent,
)
from oracle.history import Writer, read
from oracle.verdict import Judge
from reports import metrics
from reports.__main__ import main
from reports.metrics import HISTORY
from reports.timeline import collection, draw
from reports.timeline import survey as module_of_survey
from reports.timeline.collection import BINS, Collector
from reports.timeline.survey import Surveyor, surveyed
from tests.reports.timeline.test_timeline_content import unpacked


def test_a_history_without_an_end_is_drawn_under_a_banner(own: Path) -> None:
    history = own / "history.ndjson"
    whole = history.read_bytes()
    history.write_bytes(whole[: len(whole) * 9 // 10])
    page = draw(own)[0].read_text()
    assert re.search(r'class="banner"[^>]*>The history breaks off: .*truncated', page)
    assert '<span class="verdict unknown">' in page
    assert 'class="parcel"' in page


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty"),
        (b"no json\n", "first line is not JSON"),
        (b'{"kind":"header","schema":99}\n', "has schema 99"),
        (b'{"kind":"ti"}\n', "first line is not a header"),
    ],
)
def test_what_is_no_history_is_one_clear_line(
    tmp_path: Path, content: bytes, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "history.ndjson").write_bytes(content)
    assert main(["timeline", str(tmp_path)]) == 2
    told = capsys.readouterr().err
    assert said in told
    assert told.startswith("error: ")
    assert told.count("\n") == 1
    assert not (tmp_path / "timeline.html").exists()


def test_a_header_alone_is_drawn(own: Path) -> None:
    history = own / "history.ndjson"
    history.write_bytes(history.read_bytes().splitlines(keepends=True)[0])
    page, still = draw(own)
    assert "breaks off" in page.read_text()
    assert still is None


def test_a_missing_history_is_a_lab_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"There is no history\.ndjson"):
        draw(tmp_path)


def test_secrets_are_in_no_page_and_no_picture(own: Path) -> None:
    """Canaries in every text that a history carries, as a URL, a setting and a token."""
    history = own / "history.ndjson"
    header, events = read(history)
    changed = [_with_canaries(event) for event in events if not isinstance(event, End)]
    history.unlink()
    with Writer(history, header) as writer:
        for event in changed:
            writer.write(event)
        writer.close(9.0)
    drawn, still = draw(own)
    page = drawn.read_text()
    packed = re.findall(r'type="text/plain"[^>]*>([^<]+)<', page)
    texts = [page, *(msgspec.json.encode(unpacked(one)).decode() for one in packed)]
    assert still
    texts.append(still.read_text())
    assert any("***" in text for text in texts)
    for text in texts:
        assert "canary" not in text


PACKED = re.compile(r'(?:id="packed-facts"|class="parcel")>([^<]+)<')
"""What a page has of facts and details; its figures are numbered anew by each process."""

CANARIES = "postgresql://airflow:canary-1@db/x password=canary-2 token: canary-3"


def _with_canaries(event: Event) -> Event:
    if isinstance(event, HoldEvent | FaultEvent):
        return replace(event, detail=CANARIES)
    if isinstance(event, WorkerEvent) and event.refused:
        refused = replace(event.refused, message=CANARIES)
        return replace(event, refused=refused)
    if isinstance(event, NoteEvent):
        return replace(event, text=CANARIES)
    return event


def test_hostile_names_are_only_text(own: Path) -> None:
    history = own / "history.ndjson"
    history.write_bytes(history.read_bytes().replace(b"spam_1", b"</script><i>$x$"))
    page, still = draw(own)
    assert "</script><i>" not in page.read_text()
    assert still


def test_beyond_the_bound_only_the_summary_counts_them(
    race: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(collection, "TASK_INSTANCES", 46)
    found = surveyed(race)
    assert len(found.collection.tracks) == 46
    assert set(found.violating) <= set(found.collection.tracks)
    assert found.collection.left_out == 1
    assert sum(bins[-1] for bins in found.collection.in_state().values()) == 47


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The histories that were read, and as often as they were."""
    found: list[Path] = []

    def counted(path: Path) -> tuple[Header, Iterator[Event]]:
        found.append(path)
        return read(path)

    for module in (module_of_survey, metrics):
        monkeypatch.setattr(module, "read", counted)
    return found


def test_a_history_is_read_once_to_be_drawn(own: Path, reads: list[Path]) -> None:
    page, still = draw(own)
    assert page.exists()
    assert still
    assert len(reads) == 1


def test_nothing_is_read_to_draw_what_was_collected_already(own: Path, reads: list[Path]) -> None:
    expected = PACKED.findall(draw(own)[0].read_text())
    header, events = read(own / HISTORY)
    judge, surveyor = Judge(header), Surveyor(header)
    for event in events:
        surveyor.feed(event, judge.feed(event))
    found = surveyor.conclude(judge.conclude())
    reads.clear()
    assert PACKED.findall(draw(own, found)[0].read_text()) == expected
    assert len(expected) > 1
    assert reads == []


def test_a_second_pass_keeps_the_details_of_who_broke_a_promise_later_than_all_others(
    race: Path, monkeypatch: pytest.MonkeyPatch, reads: list[Path]
) -> None:
    monkeypatch.setattr(collection, "TASK_INSTANCES", 10)
    found = surveyed(race)
    assert len(reads) == 2
    assert len(found.violating) == 45
    assert set(found.collection.tracks) == set(found.violating)
    assert found.collection.left_out == 2


def test_the_steps_of_a_long_history_are_as_many_as_of_a_short_one(own: Path) -> None:
    """Whatever the steps, everybody is counted, and within a step of when it was."""
    header, events = read(own / HISTORY)
    collector = Collector(header)
    last = 0.0
    for event in events:
        collector.feed(replace(event, t=event.t * 1000))
        last = event.t * 1000
    found = collector.finish(set(), last)
    assert BINS / 2 <= last / found.step < BINS
    assert {len(bins) for bins in found.states.values()} == {BINS}
    assert sum(bins[-1] for bins in found.in_state().values()) == 47
    whole = surveyed(own).collection
    assert {name: sum(bins) for name, bins in found.decisions.items()} == {
        name: sum(bins) for name, bins in whole.decisions.items()
    }
    for state, bins in found.in_state().items():
        quarter, same = int(last / 4 / found.step), int(last / 4000 / whole.step)
        assert bins[quarter] == whole.in_state()[state][same]


def test_a_run_with_a_broken_test_draws_the_others(
    own: Path, tmp_path_factory: pytest.TempPathFactory, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path_factory.mktemp("run")
    (run / "tests" / "a").mkdir(parents=True)
    own.rename(run / "tests" / "b")
    assert main(["timeline", str(run)]) == 2
    told = capsys.readouterr()
    assert told.err.count("\n") == 1
    assert (run / "tests" / "b" / "timeline.html").exists()
    assert "unique-try" in told.out


def test_a_history_of_another_name_gets_its_own_page(own: Path) -> None:
    (own / "history.ndjson").rename(own / "mine.ndjson")
    assert main(["timeline", str(own / "mine.ndjson")]) == 0
    assert {path.name for path in own.iterdir()} == {
        *("mine.ndjson", "mine.html", "mine.svg", "mine.png")
    }
