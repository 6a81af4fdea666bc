"""The page of races: what each is, where it was seen, and what explorations found and covered."""

from collections.abc import Iterator
from html import unescape
from pathlib import Path

import msgspec
import pytest
from playwright.sync_api import Browser

from reports.dashboard.known import explorations
from reports.dashboard.pages import linked
from reports.races import known_races
from reports.records import Explored, ExploredFind
from reports.store import read_runs
from tests.reports.dashboard.folders import CLEAN, RACE, make_run
from tests.reports.dashboard.test_front_page import Links, build, text_of
from tests.reports.timeline.browser import chromium, started

FIRST = Explored(
    "run-a-loop", 20, 2, [ExploredFind(6, ["max-active-runs"], "active-runs")],
    total=20, seconds=60.0, pairs=300, orders=20, growth=[(20, 300)],
)  # fmt: skip
SECOND = Explored(
    "run-a-loop", 30, 0,
    [
        ExploredFind(41, ["max-active-runs"], "active-runs"),
        ExploredFind(44, ["unique-try"]),
        ExploredFind(45, ["no-lost-task"], again=False),
    ],
    total=50, seconds=10_800.0, pairs=320, orders=49, growth=[(20, 300), (20, 300), (50, 320)],
)  # fmt: skip


def explore(folder: Path, explored: Explored, started: str) -> None:
    """Leave a run whose one test is an exploration."""
    run = make_run(folder, "3.3.2", CLEAN, started=started)
    path = next((run / "tests").glob("*/verdict.json"))
    record = msgspec.json.decode(path.read_bytes())
    record |= {"known": None, "explored": msgspec.to_builtins(explored)}
    record["test"] = record["test"].replace("test_held[57618-", "test_explored[")
    path.write_bytes(msgspec.json.encode(record))


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("races") / "runs"
    make_run(folder, "3.0.6", RACE, CLEAN, started="20991120-060000")  # later than what is kept
    explore(folder, FIRST, "20991121-060000")
    explore(folder, SECOND, "20991122-060000")
    return folder


@pytest.fixture(scope="module")
def page(runs: Path) -> Path:
    return build(runs) / "races.html"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if chromium() is None:
        pytest.skip("needs a Chromium (HA_CHAOS_CHROMIUM)")
    with started() as found:
        yield found


def test_every_known_race_is_there_with_what_these_runs_showed_of_it(page: Path) -> None:
    said = unescape(text_of(page))
    for race in known_races():
        assert f" {race.name} {race.title}." in said
    assert "3.0.6: 1 of 2" in said
    ids = Links(page).ids
    assert {race.name for race in known_races()} <= ids


def test_an_exploration_says_what_it_found_after_how_many_rounds(page: Path) -> None:
    said = text_of(page)
    assert "50 in 2 sessions, 2 unknown 50 with earlier ones, in 3.0 h" in said
    new = said.index("new unique-try in 1 round, first in round 45")
    assert new < said.index("active-runs in 2 rounds, first in round 7")
    assert "no-lost-task in" not in said
    assert "320 pairs of statements, 49 orders 20 new pairs in the last 30 rounds" in said


def test_growth_is_a_line_that_begins_with_nothing(runs: Path) -> None:
    (view,) = explorations(read_runs([runs]))
    assert view.growth == "0.0,36.0 64.0,4.1 160.0,2.0"


def test_the_front_page_leads_to_the_races_and_the_explorations(page: Path) -> None:
    to = Links(page.with_name("index.html")).to
    assert {"races.html", "races.html#explorations"} <= set(to)


def test_an_issue_in_a_text_is_a_link_and_the_rest_of_it_is_text() -> None:
    text = linked("known (https://github.com/apache/airflow/issues/57618) & <b>")
    wanted = 'known (<a href="https://github.com/apache/airflow/issues/57618">#57618</a>) &amp; '
    assert str(text) == f"{wanted}&lt;b&gt;"


@pytest.mark.parametrize("width", [420, 1280])
def test_a_browser_shows_it_whole_without_complaint(
    page: Path, browser: Browser, width: int
) -> None:
    shown = browser.new_page(viewport={"width": width, "height": 900})
    complaints: list[str] = []
    shown.on("console", lambda message: complaints.append(message.text))
    shown.goto(page.as_uri())
    wide = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    assert shown.evaluate(wide) == 0
    table = shown.locator("[aria-label='Known races']")
    assert table.evaluate("each => each.scrollWidth - each.clientWidth") == 0
    assert shown.locator("svg.growth polyline").count() == 1
    why = shown.locator("details.cell").first
    assert why.evaluate("each => each.open") is False
    why.locator("summary").click()
    assert why.evaluate("each => each.open") is True
    assert complaints == []
    shown.close()
