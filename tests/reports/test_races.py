"""The table of known races is that of the scenarios and of their last runs."""

from pathlib import Path

import pytest
from msgspec.structs import replace

from common.errors import UserError
from reports.commands.races import PAGE
from reports.races import Sight, known_races, page, read_seen, renewed, seen_in, write_seen
from reports.records import scenario_names
from reports.store import read_runs
from tests.reports.matrix.told import Verdict, keep, record, shown


def seen_of(folder: Path) -> dict[str, dict[str, Sight]]:
    return {
        race: dict(sights) for race, sights in seen_in(read_runs([folder]), known_races()).items()
    }


def test_the_page_is_that_of_the_scenarios() -> None:
    assert PAGE.read_text() == page(known_races(), read_seen())


def test_every_race_has_a_row_and_the_gravest_come_first() -> None:
    rows = [row for row in page(known_races(), {}).splitlines() if row.startswith("| [")]
    assert {row.partition("[")[2].partition("]")[0] for row in rows} == set(scenario_names())
    severities = [row.split(" | ")[1] for row in rows if "by design" not in row]
    assert severities == sorted(severities, key=["high", "medium", "low"].index)


def test_runs_that_could_tell_are_counted(tmp_path: Path) -> None:
    keep(tmp_path, 1, shown())
    keep(tmp_path, 2, shown())
    keep(tmp_path, 3, record())
    keep(tmp_path, 4, record(verdict="unknown"))
    ((race, sights),) = seen_of(tmp_path).items()
    assert race == "57618"
    assert {release: str(sight) for release, sight in sights.items()} == {"3.0.6": "2 of 3"}


def test_a_flood_that_only_may_meet_a_race_is_not_counted(tmp_path: Path) -> None:
    keep(tmp_path, 1, shown(test="test_flood_without_chaos[{place}]"))
    assert seen_of(tmp_path) == {}


def test_a_build_of_ones_own_tells_nothing_of_a_release(tmp_path: Path) -> None:
    keep(tmp_path, 1, replace(shown(), airflow="fixed"))
    assert seen_of(tmp_path) == {}


@pytest.mark.parametrize(
    ("verdict", "broken", "seen"),
    [("valid", [], "0 of 1"), ("invalid", ["max-active-runs"], "1 of 1"),
     ("invalid", ["no-crash"], None), ("unknown", [], None)],
)  # fmt: skip
def test_runs_that_did_what_helps_are_counted_apart(
    tmp_path: Path, verdict: Verdict, broken: list[str], seen: str | None
) -> None:
    test = "test_limited[active-runs-fewer-than-a-search-takes-{place}]"
    keep(tmp_path, 1, record(verdict, *broken, test=test, about=False))
    found = {name: str(of["3.0.6"]) for name, of in seen_of(tmp_path).items()}
    assert found == ({"active-runs, meanwhile": seen} if seen else {})


def test_the_page_says_how_often_what_helps_was_tried() -> None:
    sight = Sight(0, 5, "2026-11-30")
    text = page(known_races(), {"active-runs, meanwhile": {"3.3.2": sight}})
    assert text.count("<br>*tried* 3.3.2: 0 of 5 |") == 1


def test_older_runs_take_no_place() -> None:
    kept = {"a": {"3.0.6": Sight(5, 5, "2026-02-01")}}
    assert renewed(kept, {"a": {"3.0.6": Sight(0, 9, "2026-01-01")}}) == kept


def test_newer_runs_take_the_place_of_older_ones_of_their_release() -> None:
    old = {"a": {"3.0.6": Sight(1, 1, "2026-01-01"), "3.1.8": Sight(2, 2, "2026-01-01")}}
    new = {"a": {"3.0.6": Sight(0, 5, "2026-02-01")}, "b": {"3.0.6": Sight(1, 1, "2026-02-01")}}
    assert renewed(old, new) == {"a": {**old["a"], **new["a"]}, "b": new["b"]}


@pytest.mark.parametrize(
    ("older", "newer", "day", "known"),
    [((9, 9), (2, 2), 2, (11, 11)), ((0, 9), (0, 2), 2, (0, 11)), ((9, 9), (1, 2), 2, (1, 2)),
     ((9, 9), (0, 2), 2, (0, 2)), ((9, 9), (2, 2), 1, (9, 9)), ((0, 2), (0, 9), 1, (0, 9)),
     ((9, 9), (1, 2), 1, (1, 2))],
)  # fmt: skip
def test_runs_that_say_the_same_are_added_and_others_take_their_place(
    older: tuple[int, int], newer: tuple[int, int], day: int, known: tuple[int, int]
) -> None:
    """The same runs, given twice, are of one day."""
    old, new = Sight(*older, "2026-01-01"), Sight(*newer, f"2026-01-0{day}")
    found = renewed({"a": {"3.0.6": old}}, {"a": {"3.0.6": new}})["a"]["3.0.6"]
    assert (found.shown, found.of) == known


def test_what_was_seen_is_kept_in_the_order_of_releases(tmp_path: Path) -> None:
    kept = {"b": {"3.10.0": Sight(1, 2, "d"), "3.4.0b2": Sight(0, 1, "d")}, "a": {}}
    write_seen(kept, tmp_path / "seen.json")
    found = read_seen(tmp_path / "seen.json")
    assert found == kept
    assert [*found, *found["b"]] == ["a", "b", "3.4.0b2", "3.10.0"]
    assert read_seen(tmp_path / "none.json") == {}


def test_a_file_that_is_not_ours_is_told(tmp_path: Path) -> None:
    (tmp_path / "seen.json").write_text('{"a": 1}')
    with pytest.raises(UserError, match=r"seen\.json cannot be read"):
        read_seen(tmp_path / "seen.json")


def test_issues_are_links_and_remarks_stay() -> None:
    text = page(known_races(), {})
    assert (
        "[apache/airflow#45388](https://github.com/apache/airflow/issues/45388) (closed as stale)"
        in text
    )
