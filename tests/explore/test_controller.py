"""The controller on a real PostgreSQL: one at a time, nobody in vain, and all free when it dies."""

import subprocess
import sys
import time

import pytest

from explore.controller import Controller, Standing
from explore.points import Watched
from tests.lab.miniature import Process

pytest_plugins = ["tests.lab.miniature_fixtures"]

SCAN = "SELECT count(*) FROM dag WHERE dag_id = 'dag-1'"
DAG = [Watched("dag")]
KILLED = """
import sys, time
from explore.controller import Controller
from explore.points import Watched
with Controller(sys.argv[1], [Watched("dag")]):
    print("open", flush=True)
    time.sleep(600)
"""


def all_stand(controller: Controller, count: int) -> tuple[Standing, ...]:
    for _ in range(200):
        rest = controller.step(None, 0.05)
        if len(rest.standing) == count:
            return rest.standing
    raise AssertionError(f"{len(rest.standing)} of {count} stand")


def test_one_is_let_past_at_a_time(dsn: str, scheduler_1: Process, scheduler_2: Process) -> None:
    with Controller(dsn, DAG) as controller:
        scheduler_1.begin(SCAN)
        scheduler_2.begin(SCAN)
        standing = all_stand(controller, 2)
        second = next(each for each in standing if each.process == "scheduler-2")
        rest = controller.step(second)
        assert scheduler_2.ended(40)
        assert [each.process for each in rest.standing] == ["scheduler-1"]
        assert rest.reason == "idle"
        assert not scheduler_1.ended(0.2)
    assert scheduler_1.ended(40)


def test_who_stands_again_has_arrived(dsn: str, scheduler_1: Process) -> None:
    with Controller(dsn, DAG) as controller:
        scheduler_1.begin(f"{SCAN}")
        (first,) = all_stand(controller, 1)
        controller.step(first)
        assert scheduler_1.ended(40)
        scheduler_1.run("BEGIN")
        scheduler_1.begin(SCAN)
        (again,) = all_stand(controller, 1)
        assert again.ticket > first.ticket
        assert again.point == first.point
        rest = controller.step(again, 0.2)
        assert scheduler_1.ended(40)
        assert rest.reason == "late", "it is in a transaction still, so it may go on"


def test_a_statement_stands_once_though_it_scans_two_tables(dsn: str, scheduler_1: Process) -> None:
    both = "SELECT count(*) FROM dag JOIN dag_run USING (dag_id)"
    with Controller(dsn, [Watched("dag"), Watched("dag_run")]) as controller:
        scheduler_1.begin(both)
        (one,) = all_stand(controller, 1)
        assert controller.step(one).standing == ()
        assert scheduler_1.ended(40)


def test_a_commit_is_a_point_named_by_what_it_wrote(dsn: str, scheduler_1: Process) -> None:
    with Controller(dsn, [Watched("dag_run", commits=True)]) as controller:
        scheduler_1.run("BEGIN")
        scheduler_1.run("UPDATE dag_run SET state = 'success'")
        scheduler_1.begin("COMMIT")
        (one,) = all_stand(controller, 1)
        assert one.point == "commit-dag_run"
        assert one.statement.footprint.written == {"dag_run"}
        controller.step(one)
        assert scheduler_1.ended(40)


def test_who_waits_for_a_lock_of_who_stands_is_told(
    dsn: str, scheduler_1: Process, scheduler_2: Process
) -> None:
    """Scheduler 2 is not at a point but behind a row lock: to favour it would be in vain."""
    locking = "SELECT * FROM dag WHERE dag_id = 'dag-1' FOR UPDATE"
    with Controller(dsn, DAG) as controller:
        scheduler_1.run("BEGIN")
        scheduler_1.begin(locking)
        (one,) = all_stand(controller, 1)
        controller.step(one, 0.05)
        assert scheduler_1.ended(40)
        scheduler_1.begin(SCAN)
        scheduler_2.begin(locking)
        standing = all_stand(controller, 2)
        other = next(each for each in standing if each.process == "scheduler-2")
        rest = controller.step(other)
        assert rest.reason == "blocked"
        assert [(each.process, each.blocks) for each in rest.standing] == [
            ("scheduler-1", ("scheduler-2",))
        ]
        controller.step(rest.standing[0], 0.05)
        assert scheduler_1.ended(40)
        scheduler_1.run("ROLLBACK")
        assert scheduler_2.ended(40)


def test_a_cancelled_statement_fails_where_it_stands(dsn: str, scheduler_1: Process) -> None:
    with Controller(dsn, DAG) as controller:
        scheduler_1.begin(SCAN)
        (one,) = all_stand(controller, 1)
        assert controller.cancel(one)
        controller.step(one)
        assert scheduler_1.ended(40)
    assert "canceling statement" in str(scheduler_1.error)


def test_others_are_never_held(dsn: str) -> None:
    stranger = Process(dsn, "dag-processor")
    with Controller(dsn, DAG):
        stranger.begin(SCAN)
        assert stranger.ended(40)


def test_heartbeats_are_no_points(dsn: str) -> None:
    with pytest.raises(ValueError, match="heartbeats"):
        Controller(dsn, [Watched("job")])


def test_many_steps_cost_little(dsn: str, scheduler_1: Process) -> None:
    with Controller(dsn, DAG) as controller:
        for _ in range(100):
            scheduler_1.begin(SCAN)
            (one,) = all_stand(controller, 1)
            controller.step(one, 0.5, 0.0)
            assert scheduler_1.ended(40)
        assert controller.steps == 100
        assert controller.cpu / controller.steps < 0.004


def test_all_go_free_when_the_controller_is_killed(dsn: str, scheduler_1: Process) -> None:
    child = subprocess.Popen([sys.executable, "-c", KILLED, dsn], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    assert child.stdout.readline() == "open\n"
    scheduler_1.begin(SCAN)
    assert not scheduler_1.ended(0.3)
    child.kill()
    child.wait()
    assert scheduler_1.ended(40)
    began = time.monotonic()
    scheduler_1.run(SCAN)
    assert time.monotonic() - began < 10


def test_a_pause_lets_all_pass_until_it_is_opened_again(dsn: str, scheduler_1: Process) -> None:
    with Controller(dsn, DAG) as controller:
        scheduler_1.begin(SCAN)
        all_stand(controller, 1)
        controller.pause()
        assert scheduler_1.ended(40)
        scheduler_1.run(SCAN)
        controller.open()
        scheduler_1.begin(SCAN)
        (one,) = all_stand(controller, 1)
        controller.step(one)
        assert scheduler_1.ended(40)
