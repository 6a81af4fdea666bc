"""What a deployment needs that is not ours: processes without a name, audits that do not grow."""

import psycopg
import pytest

from oracle.events import TaskInstanceEvent
from recorder import audit
from recorder import database as recorder_database
from recorder.database import DatabaseReader
from recorder.stream import DatabaseClock, Stream
from tests.recorder.tables import Connect, Recording, add_task, installed, set_state


def processes(dsn: str, names: dict[str, str], connect: Connect, process: str) -> set[str]:
    audit.install(dsn)
    clock = DatabaseClock()
    stream = Stream(clock.now)
    reader = DatabaseReader(lambda: dsn, clock, stream, lambda name: names.get(name, name))
    reader.open()
    add_task(connect(process), "t")
    reader.poll()
    reader.close()
    return {each.process for each in stream.after(0)[1] if isinstance(each, TaskInstanceEvent)}


def test_a_process_without_a_name_is_told_by_its_address(dsn: str, connect: Connect) -> None:
    assert processes(dsn, {}, connect, "") == {"127.0.0.1"}


def test_an_address_gets_the_name_that_the_lab_knows(dsn: str, connect: Connect) -> None:
    assert processes(dsn, {"127.0.0.1": "scheduler-x"}, connect, "") == {"scheduler-x"}


def test_a_process_with_a_name_keeps_it(dsn: str, connect: Connect) -> None:
    assert processes(dsn, {"127.0.0.1": "x"}, connect, "scheduler-1") == {"scheduler-1"}


@pytest.mark.parametrize("trims", [True, False])
def test_a_trimmed_audit_holds_only_what_is_new(
    dsn: str, connect: Connect, monkeypatch: pytest.MonkeyPatch, trims: bool
) -> None:
    monkeypatch.setattr(recorder_database, "TRIM_EVERY", 0.0)
    audit.install(dsn)
    clock = DatabaseClock()
    stream = Stream(clock.now)
    reader = DatabaseReader(lambda: dsn, clock, stream, trims=trims)
    reader.open()
    scheduler = connect()
    add_task(scheduler, "t")
    open_transaction = connect("scheduler-2", autocommit=False)
    add_task(open_transaction, "u")
    for state in ("scheduled", "queued", "running"):
        set_state(scheduler, "t", state)
        reader.poll()
    reader.poll()
    open_transaction.commit()
    reader.poll()
    reader.poll()
    seen = [each for each in stream.after(0)[1] if isinstance(each, TaskInstanceEvent)]
    assert len(seen) == 5, "nothing is missed by the trimming, and nothing is told twice"
    left = psycopg.connect(dsn).execute("SELECT count(*) FROM oracle.audit").fetchone()
    assert left == ((0,) if trims else (5,))
    reader.close()


def test_the_audit_is_removed_by_command_with_the_dsn_in_the_environment(
    dsn: str, recording: Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    from recorder.__main__ import main

    assert recording.poll() == []
    assert main(["remove"]) == 2
    monkeypatch.setenv("HA_CHAOS_DSN", dsn)
    assert main(["remove"]) == 0
    assert not installed(dsn)
