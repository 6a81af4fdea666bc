"""What a timeline holds, judged from the data it is drawn from."""

import base64
import gzip
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest

from oracle.events import TaskInstanceKey
from reports.timeline import draw
from reports.timeline.collection import Collection
from reports.timeline.overview import lanes
from reports.timeline.survey import Survey, surveyed
from reports.timeline.tracks import Track

WITNESS = TaskInstanceKey("issue_57618", "57618-5bcc147c", "spam_1.task_1")


@pytest.fixture(scope="module")
def found(race: Path) -> Survey:
    return surveyed(race)


@pytest.fixture(scope="module")
def collected(found: Survey) -> Collection:
    return found.collection


@pytest.fixture(scope="module")
def track(collected: Collection) -> Track:
    return collected.tracks[WITNESS]


def unpacked(text: str) -> Any:
    return msgspec.json.decode(gzip.decompress(base64.b64decode(text)))


def test_the_row_shows_every_state_with_its_try(track: Track) -> None:
    row = [(span.label, span.note.split(" of ")[0]) for span in track.spans if span.lane == "row"]
    assert row == [
        ("NONE", "try 0"),
        ("SCHEDULED", "try 1"),
        ("QUEUED", "try 1"),
        ("SCHEDULED", "try 2"),
        ("QUEUED", "try 2"),
        ("RUNNING", "try 2"),
    ]


def test_the_spans_of_a_lane_follow_one_another_without_overlap(collected: Collection) -> None:
    for track in collected.tracks.values():
        ends: dict[str, float] = {}
        for span in track.spans:
            assert span.begin >= ends.get(span.lane, 0.0)
            assert span.end is None or span.end >= span.begin
            ends[span.lane] = float("inf") if span.end is None else span.end


def test_both_schedulers_schedule_the_witness(track: Track) -> None:
    tries = [(mark.lane, mark.what) for mark in track.marks if mark.kind == "try"]
    assert tries == [
        ("scheduler-1", "scheduled it: try_number 0 -> 1"),
        ("scheduler-2", "scheduled it again: try_number 1 -> 2, while it was QUEUED"),
    ]


def test_a_mark_tells_try_process_and_transaction(track: Track) -> None:
    second = next(mark for mark in track.marks if mark.lane == "scheduler-2" and mark.kind == "try")
    assert re.fullmatch(r"try 2, scheduler-2, xid \d+.*", second.more)


def test_pods_workers_and_user_code_have_lanes_of_their_own(track: Track) -> None:
    (first, second) = track.pods
    kinds = {span.lane for span in track.spans}
    assert {f"pod:{first}", f"worker:{first}", f"pod:{second}"} <= kinds
    assert any(mark.lane.startswith("code:") for mark in track.marks)


def test_a_refused_worker_is_marked(collected: Collection) -> None:
    refused = [m for t in collected.tracks.values() for m in t.marks if m.kind == "refused"]
    assert len(refused) == 1
    assert "was refused: 409" in refused[0].what


def test_those_with_a_violation_come_first(collected: Collection, found: Survey) -> None:
    violating = found.violating
    order = [ti in violating for ti in collected.tracks]
    assert order == sorted(order, reverse=True)
    assert sum(order) == len(violating) == 45


def test_the_states_add_up_to_the_task_instances_there_are(collected: Collection) -> None:
    last = [bins[-1] for bins in collected.in_state().values()]
    assert sum(last) == 47
    assert min(last) >= 0


def test_every_decision_is_counted_once(collected: Collection, found: Survey) -> None:
    for name, decisions in found.judgement.counts.decisions.items():
        assert sum(collected.decisions[name]) == sum(decisions.values())


def test_faults_holds_and_violations_have_lanes_in_the_whole_run(found: Survey) -> None:
    drawn = lanes(found)
    assert drawn.names == (
        *("promises broken", "fault scheduler-pause", "hold statement"),
        *("scheduler-1 decides", "scheduler-2 decides"),
    )
    assert len(drawn.violations["x"]) == found.violations == 66


def test_a_process_is_held_from_when_it_got_there_until_it_is_released(
    collected: Collection,
) -> None:
    (held,) = [bar for bar in collected.disturbances.bars if bar.kind == "held"]
    assert held.process == "scheduler-2"
    assert held.end is not None
    assert held.end - held.begin == pytest.approx(0.103, abs=0.001)


def test_the_page_asks_for_nothing_from_anywhere(race: Path) -> None:
    page = draw(race)[0].read_text()
    ours = re.sub(r"<script>.*?</script>", "", page, count=1, flags=re.DOTALL)
    assert "default-src 'none'" in ours
    assert not re.search(r"""(src|href)=["'](?!data:)""", ours)
    assert not re.search(r"@import|url\((?!data:)", ours)


def test_a_small_page_is_little_more_than_bokeh_itself(race: Path) -> None:
    assert draw(race)[0].stat().st_size < 1_600_000


def test_every_task_instance_is_packed_in_the_page(race: Path) -> None:
    page = draw(race)[0].read_text()
    parcels = re.findall(r'class="parcel">([^<]+)<', page)
    tracks = [track for parcel in parcels for track in unpacked(parcel)]
    facts = re.search(r'id="packed-facts">([^<]+)<', page)
    assert facts
    names = unpacked(facts[1])["names"]
    assert [track["name"] for track in tracks] == names
    assert names[unpacked(facts[1])["chosen"]] == str(WITNESS)
    assert len(names) == 47


def test_the_head_says_what_ran_and_what_came_of_it(race: Path) -> None:
    page = draw(race)[0].read_text()
    assert "Airflow 3.0.6, embedded, 2 schedulers, seed 651921. A promise was broken." in page
    assert "46 task instances in 1 DAG run, 32 pods, 1 refused start" in page, (
        "end was not scheduled"
    )
    assert "unique-try 45 times" in page


def test_a_flood_without_violation_has_no_witness(flood: Path) -> None:
    page = draw(flood)[0].read_text()
    assert 'id="witness"' not in page
    assert '<span class="verdict valid">' in page
