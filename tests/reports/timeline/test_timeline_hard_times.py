"""Histories that are broken, foreign, empty or dangerous to show."""

import re
from pathlib import Path

import msgspec
import pytest

from common.errors import UserError
from oracle.events import End, Event, FaultEvent, HoldEvent, NoteEvent, WorkerEvent
from oracle.history import Writer, read
from reports.__main__ import main
from reports.timeline import collection, picture, write
from reports.timeline.collection import collect
from reports.timeline.source import open_source
from reports.timeline.survey import survey
from tests.reports.timeline.test_timeline_content import unpacked


def test_a_history_without_an_end_is_drawn_under_a_banner(own: Path) -> None:
    history = own / "history.ndjson"
    whole = history.read_bytes()
    history.write_bytes(whole[: len(whole) * 9 // 10])
    page = write(own).read_text()
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
    assert "breaks off" in write(own).read_text()
    assert picture(own) is None


def test_a_missing_history_is_a_lab_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"There is no history\.ndjson"):
        write(tmp_path)


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
    page = write(own).read_text()
    packed = re.findall(r'type="text/plain"[^>]*>([^<]+)<', page)
    texts = [page, *(msgspec.json.encode(unpacked(one)).decode() for one in packed)]
    still = picture(own)
    assert still
    texts.append(still.read_text())
    assert any("***" in text for text in texts)
    for text in texts:
        assert "canary" not in text


CANARIES = "postgresql://airflow:canary-1@db/x password=canary-2 token: canary-3"


def _with_canaries(event: Event) -> Event:
    if isinstance(event, HoldEvent | FaultEvent):
        return msgspec.structs.replace(event, detail=CANARIES)
    if isinstance(event, WorkerEvent) and event.refused:
        refused = msgspec.structs.replace(event.refused, message=CANARIES)
        return msgspec.structs.replace(event, refused=refused)
    if isinstance(event, NoteEvent):
        return msgspec.structs.replace(event, text=CANARIES)
    return event


def test_hostile_names_are_only_text(own: Path) -> None:
    history = own / "history.ndjson"
    history.write_bytes(history.read_bytes().replace(b"spam_1", b"</script><i>$x$"))
    page = write(own).read_text()
    assert "</script><i>" not in page
    assert picture(own)


def test_beyond_the_bound_only_the_summary_counts_them(
    race: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(collection, "TASK_INSTANCES", 46)
    found = survey(open_source(race))
    collected = collect(found)
    assert len(collected.tracks) == 46
    assert set(found.violating) <= set(collected.tracks)
    assert collected.left_out == 1
    assert sum(bins[-1] for bins in collected.in_state().values()) == 47


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
