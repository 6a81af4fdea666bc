"""The page in a real browser: what is seen, pointed at, filtered, zoomed."""

import re
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from reports.timeline import draw
from tests.labs import at_night
from tests.reports.timeline.browser import Opened, opened

RACE = "issue_57618.spam_1.task_1 @ 57618-5bcc147c"


@pytest.fixture
def page(browsed: Opened) -> Page:
    """The race's page as it was when it opened."""
    page = browsed.page
    page.locator("#filter").fill("")
    page.locator("#only").check()
    page.evaluate("timeline.choose([timeline.facts.chosen])")
    expect(page.locator("#shown")).to_have_text(RACE)
    page.mouse.move(1, 1)
    return page


def lanes(page: Page) -> list[str]:
    """Return the names of the lanes that are drawn, from the top."""
    names: list[str] = page.evaluate(
        """() => [...timeline.drawing.axis.major_label_overrides]
            .sort((one, other) => other[0] - one[0]).map(([, name]) => name)"""
    )
    return names


def drawn(page: Page, source: str) -> dict[str, list[Any]]:
    """Return what a source of the figure holds."""
    data: dict[str, list[Any]] = page.evaluate(
        "(name) => timeline.drawing.source(name).data", source
    )
    return data


def position(page: Page, x: float, y: float) -> tuple[float, float]:
    """Return where on the page a point of the details' figure is."""
    found: list[float] = page.evaluate(
        """([x, y]) => {
            const view = Bokeh.index.find_one(timeline.drawing.figure);
            const box = view.el.getBoundingClientRect();
            const { x_scale, y_scale } = view.frame;
            return [box.left + x_scale.compute(x), box.top + y_scale.compute(y)];
        }""",
        [x, y],
    )
    return found[0], found[1]


def test_it_opens_from_disk_without_a_request_or_a_complaint(browsed: Opened) -> None:
    assert browsed.complaints == []
    assert len(browsed.requests) == 1
    assert browsed.requests[0].startswith("file://")


def test_it_opens_on_the_witness_with_all_who_had_to_do_with_it(page: Page) -> None:
    assert lanes(page) == [
        *("fault scheduler-pause", "hold statement", "scheduler-1", "scheduler-2", "api-server"),
        *("database row", "pod a", "worker a", "user code a", "pod b", "worker b"),
    ]
    expect(page.locator("#witness")).to_contain_text("scheduled it again: try_number 1 -> 2")


def test_the_violation_is_marked_with_its_promise(page: Page) -> None:
    assert len(drawn(page, "lines")["x"]) == 2
    texts = drawn(page, "promises")["text"]
    assert texts[0].startswith("unique-try: A task instance is scheduled")
    expect(page.locator("#broken li")).to_have_count(3)


def test_pointing_at_an_event_tells_it_in_prose(page: Page) -> None:
    marks = drawn(page, "marks")
    place = next(i for i, what in enumerate(marks["what"]) if "scheduled it again" in what)
    page.mouse.move(*position(page, marks["x"][place], marks["y"][place]))
    tip = page.locator(".bk-Tooltip", has_text="scheduled it again").first
    expect(tip).to_contain_text("scheduler-2 scheduled it again: try_number 1 -> 2")
    expect(tip).to_contain_text(re.compile(r"try 2, scheduler-2, xid \d+"))


def test_pointing_at_a_hold_names_the_statement_at_which(page: Page) -> None:
    bars = drawn(page, "bars")
    place = next(i for i, who in enumerate(bars["who"]) if who == "held")
    middle = (bars["left"][place] + bars["right"][place]) / 2
    page.mouse.move(*position(page, middle, (bars["top"][place] + bars["bottom"][place]) / 2))
    tip = page.locator(".bk-Tooltip", has_text="is held at").first
    expect(tip).to_contain_text("scheduler-2 is held at statement")


def test_the_filter_and_enter_change_what_is_drawn(page: Page) -> None:
    page.locator("#filter").fill("spam_4.task_2")
    expect(page.locator("#list li")).to_have_count(1)
    page.locator("#filter").press("Enter")
    expect(page.locator("#shown")).to_contain_text("spam_4.task_2")
    assert set(drawn(page, "spans")["ti"]) == {
        page.evaluate("timeline.facts.names.findIndex((name) => name.includes('spam_4.task_2'))")
    }


def test_violations_are_listed_first_and_alone_on_demand(page: Page) -> None:
    expect(page.locator("#list li")).to_have_count(45)
    page.locator("#all").check()
    expect(page.locator("#list li")).to_have_count(47)
    expect(page.locator("#list li").first).to_contain_text("✖")
    expect(page.locator("#list li").last).not_to_contain_text("✖")


def test_several_are_drawn_together_a_lane_each(page: Page) -> None:
    page.locator("#filter").fill("spam_2")
    page.locator("#together").click()
    expect(page.locator("#shown")).to_have_text("5 task instances")
    assert lanes(page)[2:] == [f"spam_2.task_{number}" for number in range(1, 6)]
    assert len(drawn(page, "broken")["x"]) >= 5


def test_a_drag_zooms_and_the_reset_shows_the_whole_life(page: Page) -> None:
    width = "timeline.drawing.figure.x_range.end - timeline.drawing.figure.x_range.start"
    before = page.evaluate(width)
    page.mouse.move(*position(page, 2.05, 5))
    page.mouse.down()
    page.mouse.move(*position(page, 2.2, 5), steps=4)
    page.mouse.up()
    assert page.evaluate(width) == pytest.approx(0.15, abs=0.02)
    page.locator("#whole").click()
    assert page.evaluate(width) > before > 0.15


def test_a_broken_promise_links_to_its_moment(page: Page) -> None:
    page.locator("#broken button").last.click()
    range_ = "[timeline.drawing.figure.x_range.start, timeline.drawing.figure.x_range.end]"
    begin, end = page.evaluate(range_)
    assert begin < max(drawn(page, "lines")["x"]) < end
    assert end - begin == pytest.approx(0.3)


def test_a_cross_in_the_whole_run_leads_to_its_task_instance(page: Page) -> None:
    page.evaluate(
        """() => {
            const points = timeline.drawing.source("violations");
            const place = points.data.more.findIndex((name) => name.includes("spam_3.task_3"));
            points.selected.indices = [place];
        }"""
    )
    expect(page.locator("#shown")).to_contain_text("spam_3.task_3")


def test_without_a_violation_it_opens_on_the_whole_run(browser: Browser, flood: Path) -> None:
    with opened(browser, draw(flood)[0]) as found:
        expect(found.page.locator("#shown")).to_contain_text("the whole run")
        assert not found.page.evaluate("timeline.drawing.figure.visible")
        found.page.locator("#list button").first.click()
        expect(found.page.locator("#shown")).to_contain_text(" @ ")
        assert drawn(found.page, "spans")["left"]
        assert found.complaints == []


@at_night
def test_ten_thousand_are_a_summary_with_details_on_demand(
    browser: Browser, multitude: Path
) -> None:
    with opened(browser, multitude / "timeline.html") as found:
        page = found.page
        assert page.evaluate("timeline.facts.names.length") > 9_900
        assert len(drawn(page, "spans")["left"]) < 50
        assert len(drawn(page, "stacks")["left"]) < 3_000
        assert page.evaluate("timeline.details.unpacked.size") == 1
        page.locator("#all").check()
        page.locator("#filter").fill("-0100")
        expect(page.locator("#count")).to_contain_text("94 of")
        page.locator("#list button").nth(3).click()
        expect(page.locator("#shown")).to_contain_text("-0100")
        assert page.evaluate("timeline.details.unpacked.size") == 2
        assert found.complaints == []


@pytest.mark.parametrize("dark", [False, True])
def test_a_phone_needs_no_scrolling_sideways(browser: Browser, race: Path, dark: bool) -> None:
    with opened(browser, draw(race)[0], width=400, height=800, dark=dark) as found:
        body = "document.documentElement"
        assert found.page.evaluate(f"{body}.scrollWidth <= {body}.clientWidth")
        assert found.complaints == []
