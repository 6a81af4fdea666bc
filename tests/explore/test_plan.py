"""Rounds are drawn by their seed, and ask for what an explored lab has."""

from random import Random

import pytest

from common.durations import seconds
from dags.shapes import dags
from explore.moves import BEGUN_BY
from explore.plan import WORLDS, lab_spec, plan, shapes
from explore.points import LEVELS, NEVER, Watched
from explore.schedule import parsed
from lab.base import Airflow


def test_a_seed_draws_one_round() -> None:
    assert plan(Random("1:7")) == plan(Random("1:7"))
    assert len({str(plan(Random(f"1:{n}"))) for n in range(50)}) > 40


@pytest.mark.parametrize("world", WORLDS)
def test_rounds_ask_for_dags_and_tasks_that_there_are(world: str) -> None:
    there = dags(shapes(WORLDS[world]))
    assert "deep-2" in there, "with which a lab is warmed"
    for number in range(300):
        drawn = plan(Random(number), world=world)
        runs = {deed.run: deed.target for deed in drawn.deeds if deed.do == "trigger"}
        assert 2 <= len(runs) <= 8
        for deed in drawn.deeds:
            if deed.do in ("trigger", "clear", "mark"):
                assert deed.target in there
            if deed.do in ("clear", "mark"):
                assert runs[deed.run] == deed.target
                assert deed.task in {node.task_id for node in there[deed.target].nodes}


def test_who_defers_has_a_triggerer_and_real_workers() -> None:
    specs = {name: lab_spec(Airflow("3.3.2", "3.3.2"), world) for name, world in WORLDS.items()}
    assert {name for name, spec in specs.items() if spec.triggerers} == {"triggers"}
    assert {name for name, spec in specs.items() if spec.kubelet == "fork"} == {"triggers"}
    runs = {deed.target for n in range(99) for deed in plan(Random(n), world="triggers").deeds}
    assert {"impatient-3", "impatient-60"} <= runs


def test_all_moves_are_drawn() -> None:
    deeds = {deed.do for number in range(300) for deed in plan(Random(number)).deeds}
    assert deeds == {
        "trigger", "update", "clear", "mark", "mark-run", "resize", "cancel",
        "kill", "pause", "resume", "silence", "tell",
    }  # fmt: skip
    quiet = {d.do for number in range(300) for d in plan(Random(number), moves=False).deeds}
    assert quiet == {"trigger", "update"}


def test_what_lasts_is_ended_in_the_same_round() -> None:
    for number in range(300):
        deeds = plan(Random(number)).deeds
        lasting = [deed for deed in deeds if deed.do in {*BEGUN_BY, *BEGUN_BY.values()}]
        if lasting:
            begin, end = lasting
            assert begin.do == BEGUN_BY[end.do]
            assert begin.target == end.target
            assert begin.at < end.at


def test_no_heartbeat_is_a_point() -> None:
    for points in LEVELS.values():
        assert not NEVER & {each.table for each in points if isinstance(each, Watched)}
        assert [parsed(str(each)) for each in points] == list(points)


@pytest.mark.parametrize(("text", "value"), [("90s", 90), ("20m", 1200), ("8h", 28800)])
def test_durations(text: str, value: float) -> None:
    assert seconds(text) == value


@pytest.mark.parametrize("text", ["", "s", "8", "8d", "-1s", "0s", "nans", "infh"])
def test_what_is_no_duration_is_told(text: str) -> None:
    with pytest.raises(Exception, match="write 90s, 20m or 8h"):
        seconds(text)
