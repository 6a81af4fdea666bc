"""The search finds the release where the answer turns, in few steps, and says what it cannot."""

from collections.abc import Iterable

import pytest

from common.errors import UserError
from reports.campaigns.patches import compare_patches
from reports.campaigns.search import Turn, most_steps, search
from reports.campaigns.step import Answer, Tried

RELEASES = [f"3.{minor}.{patch}" for minor in range(4) for patch in range(5)]


class Judge:
    """Knows every release's answer, and counts what it was asked."""

    def __init__(self, bad: Iterable[str], inconclusive: Iterable[str] = ()) -> None:
        self.bad, self.inconclusive = set(bad), set(inconclusive)
        self.asked: list[str] = []

    def __call__(self, release: str) -> Tried:
        self.asked.append(release)
        verdict: Answer = "reproduced" if release in self.bad else "clean"
        if release in self.inconclusive:
            return Tried(airflow=release, verdict="skipped", runs=3, reason="it does not start")
        hits = 2 if verdict == "reproduced" else 0
        return Tried(airflow=release, verdict=verdict, hits=hits, trials=2, runs=2)


def fixed(judge: Judge, releases: list[str] = RELEASES) -> Turn:
    return search(releases, judge, fixed=True)


@pytest.mark.parametrize("first", range(1, len(RELEASES)))
def test_the_first_fixed_release_is_found_wherever_it_is(first: int) -> None:
    judge = Judge(bad=RELEASES[:first])
    found = fixed(judge)
    assert (found.last.airflow, found.first.airflow) == tuple(RELEASES[first - 1 : first + 1])
    assert found.clear
    assert len(judge.asked) == len(set(judge.asked)) <= most_steps(len(RELEASES)) == 7


@pytest.mark.parametrize("first", range(1, len(RELEASES)))
def test_the_first_broken_release_is_found_wherever_it_is(first: int) -> None:
    found = search(RELEASES, Judge(bad=RELEASES[first:]), fixed=False)
    assert found.first.airflow == RELEASES[first]
    assert found.text().startswith(
        f"First broken release: {RELEASES[first]} ({RELEASES[first - 1]} does not reproduce it, "
    )


def test_the_answer_is_one_statement() -> None:
    found = search(["3.0.6", "3.1.8", "3.2.0"], Judge(bad=["3.0.6", "3.1.8"]), fixed=True)
    assert found.text() == (
        "First fixed release: 3.2.0 (3.1.8 reproduces it, 3.2.0 does not), "
        "3 releases tried in 6 runs."
    )


@pytest.mark.parametrize("first", range(1, len(RELEASES)))
def test_a_skipped_release_makes_the_answer_a_range_only_where_it_is_next_to_it(first: int) -> None:
    inconclusive = {"3.1.1", "3.1.2", "3.2.3"} - {RELEASES[0], RELEASES[-1]}
    found = fixed(Judge(bad=RELEASES[:first], inconclusive=inconclusive))
    between = RELEASES[RELEASES.index(found.last.airflow) + 1 :]
    between = between[: between.index(found.first.airflow) + 1]
    assert RELEASES[first] in between
    assert found.skipped == tuple(between[:-1])
    assert inconclusive.issuperset(found.skipped)
    if found.skipped:
        assert f"one of {', '.join(between)}" in found.text()


def test_everything_between_the_ends_may_be_skipped() -> None:
    found = fixed(Judge(bad=["3.0.0"], inconclusive=["3.0.1", "3.0.2"]), RELEASES[:4])
    assert not found.clear
    assert "First fixed release: one of 3.0.1, 3.0.2, 3.0.3" in found.text()
    assert "2 between them cannot be tried" in found.text()


@pytest.mark.parametrize(
    ("judge", "told"),
    [
        (Judge(bad=RELEASES), "--good 3.3.4 shows the race: 2 of 2"),
        (Judge(bad=[]), "--bad 3.0.0 does not show the race: 0 of 2"),
        (
            Judge(bad=RELEASES[:3], inconclusive=["3.3.4"]),
            "--good 3.3.4 cannot be judged: it does not start",
        ),
    ],
)
def test_ends_that_do_not_differ_are_told_before_anything_is_searched(
    judge: Judge, told: str
) -> None:
    with pytest.raises(UserError, match=told):
        fixed(judge)
    assert len(judge.asked) <= 2


def test_two_neighbours_need_no_search() -> None:
    judge = Judge(bad=["3.0.0"])
    assert fixed(judge, RELEASES[:2]).first.airflow == "3.0.1"
    assert len(judge.asked) == most_steps(2) == 2


def test_a_fix_that_was_carried_back_is_told_where_it_was_seen() -> None:
    judge = Judge(bad={*RELEASES[:4], *RELEASES[5:10]})
    earlier = [judge(release) for release in ("3.0.4", "3.1.0")]
    found = search(RELEASES, judge, fixed=True, known=earlier)
    (told,) = found.oddities
    assert told.startswith("The answer turns 3 times, as with a fix carried back: ")
    assert "3.0.4 clean, 3.1.0 reproduced" in told
    assert not fixed(Judge(bad=RELEASES[:9])).oddities


PATCHES = {"guard": "a", "joins": "b"}


@pytest.mark.parametrize(
    ("bad", "inconclusive", "told"),
    [
        ({"base", "b"}, (), "Only guard (0 of 2, at most 77.6 %) removes the race, joins (2 of 2"),
        ({"base", "a"}, (), "Only joins (0 of 2, at most 77.6 %) removes the race, guard (2 of 2"),
        ({"base"}, (), "Each alone removes the race: guard (0 of 2, at most 77.6 %) and joins"),
        ({"base", "a", "b"}, (), "Neither removes the race alone: it shows with guard (2 of 2"),
        ({"base"}, "b", "guard (0 of 2, at most 77.6 %) removes the race, joins cannot be judged"),
    ],
    ids=["first", "second", "each", "neither", "one cannot be told"],
)
def test_which_patch_matters(bad: set[str], inconclusive: str, told: str) -> None:
    compared = compare_patches("base", PATCHES, Judge(bad, inconclusive))
    assert compared.text().startswith(told)
    assert "base alone shows it 2 of 2" in compared.text()
    assert compared.clear == (not inconclusive)


def test_two_of_three_patches_matter() -> None:
    compared = compare_patches("base", PATCHES | {"other": "c"}, Judge({"base", "c"}))
    assert "and joins (0 of 2, at most 77.6 %) each remove the race, other" in compared.text()


def test_a_single_patch_that_does_nothing() -> None:
    compared = compare_patches("base", {"other": "c"}, Judge({"base", "c"}))
    assert compared.text().startswith("other (2 of 2, at least 22.4 %) does not remove the race;")


def test_a_base_without_the_race_answers_nothing() -> None:
    with pytest.raises(UserError, match="cannot serve as the base: it does not show the race"):
        compare_patches("base", PATCHES, Judge(set()))
