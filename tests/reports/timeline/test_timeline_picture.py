"""The still picture of a witness, and the drawing for a terminal."""

import io
import re
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from rich.console import Console

from oracle.verdict import Judgement
from reports import timeline
from reports.commands.timeline import LINES, witness_text
from reports.timeline.picture import draw
from reports.timeline.scene import DEEDS, ROW, Scene, chosen, stage
from reports.timeline.survey import Survey, surveyed
from tests.oracle.telling import HISTORIES

INVALID = sorted(HISTORIES.glob("*/invalid-*.ndjson"))


@pytest.fixture(scope="module")
def found(race: Path) -> Survey:
    return surveyed(race)


@pytest.fixture(scope="module")
def scene(found: Survey) -> Scene:
    return staged(found.judgement)


def staged(judgement: Judgement) -> Scene:
    story = chosen(judgement)
    assert story
    return stage(story)


def test_the_row_stands_between_the_two_schedulers(scene: Scene) -> None:
    assert scene.columns == ("scheduler-1", ROW, "scheduler-2", "pod a", "pod b")


def test_the_second_scheduler_breaks_the_promise_on_the_row_the_first_had(scene: Scene) -> None:
    (broken,) = [line for line in scene.lines if "unique-try" in line.deed.broke]
    assert scene.columns[broken.column] == "scheduler-2"
    before = scene.lines[scene.lines.index(broken) - 1]
    assert (before.state, before.try_number) == ("QUEUED", 1)
    assert (broken.state, broken.try_number) == ("SCHEDULED", 2)


def test_who_is_frozen_or_held_is_shown_so(scene: Scene) -> None:
    held = [{scene.columns[column] for column in line.held} for line in scene.lines[:6]]
    both, second = {"scheduler-1", "scheduler-2"}, {"scheduler-2"}
    assert held == [{"scheduler-1"}, both, second, second, second, set()]


def test_the_same_history_gives_the_same_bytes(own: Path) -> None:
    drawn = [(own / name) for name in ("witness.svg", "witness.png")]
    assert timeline.draw(own)[1] == drawn[0]
    first = [path.read_bytes() for path in drawn]
    timeline.draw(own)
    assert [path.read_bytes() for path in drawn] == first


def narrow(scene: Scene, lanes: int) -> Scene:
    """Keep the first lanes of a scene alone, and what happens there."""
    lines = [line for line in scene.lines if line.column < lanes]
    return replace(scene, columns=scene.columns[:lanes], lines=tuple(lines))


@pytest.mark.parametrize("lanes", [2, 3, 4, 5])
@pytest.mark.parametrize(
    "what",
    [
        "d.t @ r",
        "issue_57618.start @ 57618-67dce7ba",
        "a_dag_with_a_longer_name.and_a_task_group.task @ scheduled__2026-11-28T23:00:00+00:00",
        "no_blanks_" * 20,
    ],
)
def test_nothing_lies_over_the_title(scene: Scene, lanes: int, what: str) -> None:
    drawn = draw(narrow(scene, lanes), f"Airflow 3.0.6, embedded: {what}", "unique-try: once.")
    agg: Any = FigureCanvasAgg(drawn)
    renderer = agg.get_renderer()
    bold = [text for text in drawn.axes[0].texts if text.get_fontsize() == 12]
    others = [text for text in drawn.axes[0].texts if text not in bold]
    assert any("under a fault" in text.get_text() for text in others)
    whole = drawn.bbox
    for text in bold:
        box = text.get_window_extent(renderer)
        assert whole.x0 <= box.x0 < box.x1 <= whole.x1
        assert not [o.get_text() for o in others if box.overlaps(o.get_window_extent(renderer))]


def test_the_svg_is_whole_and_says_what_it_shows(own: Path) -> None:
    _, path = timeline.draw(own)
    assert path
    text = path.read_text()
    assert ElementTree.fromstring(text).tag.endswith("svg")
    assert "unique-try: A task instance is scheduled once a try" in text
    assert len(text) < 300_000


def test_without_a_violation_there_is_no_picture(flood: Path) -> None:
    assert timeline.draw(flood)[1] is None
    assert not (flood / "witness.svg").exists()


@pytest.mark.parametrize("history", INVALID, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_every_kind_of_violation_can_be_staged(history: Path) -> None:
    found = surveyed(history)
    assert found.marks
    if chosen(found.judgement) is not None:
        scene = staged(found.judgement)
        assert 0 < len(scene.lines) <= DEEDS
        assert len(printed(found).splitlines()) <= LINES + 2 + DEEDS


def printed(found: Survey) -> str:
    """Return what a pipe gets of a witness."""
    console = Console(file=io.StringIO(), width=200)
    with console.capture() as capture:
        console.print(witness_text(found))
    return capture.get()


def test_the_terminal_draws_who_reached_for_the_row(found: Survey) -> None:
    told = printed(found)
    assert "SCHEDULED 1" in told
    (line,) = [line for line in told.splitlines() if "x unique-try" in line]
    assert re.search(r"SCHEDULED 2  <- +\* ", line)
    assert told.isascii()
