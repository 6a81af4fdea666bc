"""A seed decides what a flood asks for; its report says whether the load was there."""

import itertools
from collections import Counter
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from common.errors import UserError
from load.flood import Flood
from load.plan import Asked, orders, visits
from load.profiles import PROFILES, profile
from load.report import Endpoint, FloodReport
from load.tally import Tally, lines
from load.ui import PAGES

ASKED = Asked(dag_ids=("a", "b", "c"), runs=10, rate=2.0, users=2, seed=7, run_prefix="f")


def with_seed(seed: int) -> Asked:
    return msgspec.structs.replace(ASKED, seed=seed)


def test_the_same_seed_asks_for_the_same_runs_in_the_same_order() -> None:
    assert list(orders(ASKED)) == list(orders(with_seed(7)))
    assert [order.dag_id for order in orders(ASKED)] != [o.dag_id for o in orders(with_seed(8))]


def test_run_ids_are_prefix_seed_and_number_and_unique() -> None:
    assert [order.run_id for order in orders(ASKED)] == [f"f-7-{n}" for n in range(10)]


def test_every_dag_is_asked_for_once_a_round() -> None:
    asked = [order.dag_id for order in orders(ASKED)]
    assert all(set(asked[at : at + 3]) == {"a", "b", "c"} for at in (0, 3, 6))
    assert max(Counter(asked).values()) - min(Counter(asked).values()) <= 1


def test_a_ui_user_looks_at_every_page_and_the_seed_says_in_which_order() -> None:
    def seen(asked: Asked, user: int) -> list[object]:
        return list(itertools.islice(visits(asked, user, tuple(PAGES)), len(PAGES)))

    assert seen(ASKED, 0) == seen(with_seed(7), 0)
    assert seen(ASKED, 0) != seen(ASKED, 1)
    pages = {visit.page for visit in itertools.islice(visits(ASKED, 0, tuple(PAGES)), len(PAGES))}
    assert pages == set(PAGES)


def report(**figures: float) -> FloodReport:
    reached = {"triggered": 10, "finished": 10, "runs_per_second": 2.0}
    return msgspec.convert({"asked": ASKED, **reached, **figures}, FloodReport)


@pytest.mark.parametrize(
    ("figures", "says"),
    [
        ({"triggered": 8}, "8 of 10 runs were triggered"),
        ({"triggered": 0, "finished": 0}, "0 of 10 runs were triggered"),
        ({"runs_per_second": 1.7}, "1.70 a second, 2 were asked for"),
        ({"finished": 8}, "8 of 10 runs came to an end"),
    ],
)
def test_a_load_under_nine_tenths_of_what_was_asked_falls_short(
    figures: dict[str, float], says: str
) -> None:
    assert says in (report(**figures).shortfall() or "")


@pytest.mark.parametrize(
    "figures",
    [{}, {"triggered": 9, "finished": 9}, {"runs_per_second": 1.8}, {"runs_per_second": 9.0}],
)
def test_a_load_of_nine_tenths_of_what_was_asked_does_not_fall_short(
    figures: dict[str, float],
) -> None:
    assert report(**figures).shortfall() is None


def test_the_floor_can_be_moved() -> None:
    assert report(triggered=8, finished=8).shortfall(floor=0.8) is None


def test_a_single_run_has_no_rate_to_fall_short_of() -> None:
    one = msgspec.structs.replace(ASKED, runs=1)
    assert FloodReport(asked=one, triggered=1, finished=1).shortfall() is None


def test_a_report_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    written = FloodReport(
        asked=ASKED,
        triggered=3,
        ended={"success": 2},
        endpoints={"GET /x": Endpoint(requests=1, failures=0, p50_ms=1.5, p95_ms=2.0)},
    )
    written.save(tmp_path / "flood.json")
    assert FloodReport.load(tmp_path / "flood.json") == written


def test_an_unreadable_report_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "flood.json").write_text('{"asked": ')
    with pytest.raises(UserError, match="is no flood's report"):
        FloodReport.load(tmp_path / "flood.json")
    with pytest.raises(UserError, match="is no flood's report"):
        FloodReport.load(tmp_path / "none.json")


def test_the_journal_can_be_followed_while_it_is_written(tmp_path: Path) -> None:
    path = tmp_path / "flood-runs.ndjson"
    assert list(lines(path)) == []
    first, second = itertools.islice(orders(ASKED), 2)
    with path.open("w") as journal:
        tally = Tally(journal)
        tally.triggered(first)
        tally.triggered(second)
        tally.finished(first.dag_id, first.run_id, "success")
        tally.finished(first.dag_id, first.run_id, "success")
        tally.finished(first.dag_id, "somebody-elses", "success")
        seen = [(line.op, line.run_id, line.state) for line in lines(path)]
    assert seen == [
        ("triggered", "f-7-0", None),
        ("triggered", "f-7-1", None),
        ("finished", "f-7-0", "success"),
    ]
    assert (tally.count, dict(tally.ended), list(tally.open.values())) == (
        2,
        {"success": 1},
        [second],
    )
    path.write_bytes(path.read_bytes()[:-5])
    assert len(list(lines(path))) == 2


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"dag_ids": ()}, "at least one DAG"),
        ({"dag_ids": ("a", "")}, "at least one DAG"),
        ({"dag_ids": ("a,b",)}, "comma"),
        ({"runs": 0}, "at least one run, not 0"),
        ({"rate": 0.0}, "a rate of 0 runs"),
        ({"rate": float("nan")}, "a rate of nan runs"),
        ({"users": -1}, "users cannot be -1"),
        ({"base_url": "localhost:8080"}, "URL is not http"),
        ({"base_url": "http://me:secret@127.0.0.1:1"}, "URL is not http"),
    ],
)
def test_what_can_be_no_flood_is_refused_before_anything_runs(
    tmp_path: Path, changed: dict[str, object], says: str
) -> None:
    good: dict[str, object] = {"dag_ids": ("a",), "runs": 1, "rate": 1.0, "seed": 1}
    url = str(changed.get("base_url", "http://127.0.0.1:1"))
    asked = {**good, **{name: changed[name] for name in changed if name != "base_url"}}
    with pytest.raises(UserError, match=says) as caught:
        Flood(url, tmp_path, Asked(**asked))  # type: ignore[arg-type]
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("name", PROFILES)
def test_every_profile_is_a_flood_that_can_be_made(name: str, tmp_path: Path) -> None:
    made = profile(name).flood("http://127.0.0.1:1", tmp_path, seed=1)
    assert made.asked.runs >= len(made.asked.dag_ids)
    assert profile(name).environment()["HA_CHAOS_SHAPES"] == profile(name).shapes


def test_the_issues_profile_adds_up() -> None:
    assert profile("issue").task_instances() == 6 * 47


def test_an_unknown_profile_or_one_of_bad_shapes_is_one_line() -> None:
    with pytest.raises(UserError, match=f"The floods are {', '.join(PROFILES)}"):
        profile("tsunami")
    with pytest.raises(UserError, match="'wyde'"):
        replace(profile("smoke"), shapes="wyde").dags()
