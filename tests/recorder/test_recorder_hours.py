"""An observation of hours: passwords that change, links that break, servers that take over."""

import os
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from common.errors import UserError
from lab.embedded.postgres import OWNER, SUPERUSER, Postgres, binaries
from oracle.events import Event, NoteEvent, TaskInstanceEvent
from recorder import audit, connection
from recorder import database as recorder_database
from recorder.database import DatabaseReader
from recorder.stream import DatabaseClock, Stream
from run.keeper import try_installing
from tests.labs import eventually
from tests.recorder.link import Cable
from tests.recorder.standby import caught_up, promote, server, standby_of
from tests.recorder.tables import Connect, add_task, installed, make_database, set_state
from tests.recorder.test_recorder_database import cut


class Reading:
    """A reader at work in a thread; `dsn` may be changed meanwhile."""

    def __init__(self, dsn: str, *, trims: bool = False) -> None:
        self.dsn = dsn
        clock = DatabaseClock()
        self.stream = Stream(clock.now)
        self.reader = DatabaseReader(lambda: self.dsn, clock, self.stream, trims=trims)
        self.reader.open()
        self.stop = threading.Event()
        self.thread = threading.Thread(target=self.reader.run, args=(self.stop,), daemon=True)
        self.thread.start()

    def told(self) -> list[str]:
        return [
            event.ti.task_id
            for event in self.stream.after(0)[1]
            if isinstance(event, TaskInstanceEvent)
        ]

    def notes(self) -> str:
        return "\n".join(e.text for e in self.stream.after(0)[1] if isinstance(e, NoteEvent))

    def tells(self, *tasks: str) -> bool:
        return eventually(lambda: self.told() == list(tasks), 20)

    def end(self) -> None:
        self.stop.set()
        self.thread.join()
        self.reader.finish(2.0)

    def abandon(self) -> None:
        self.stop.set()
        self.thread.join()
        self.reader.close()


@pytest.fixture
def reading(dsn: str) -> Iterator[Reading]:
    audit.install(dsn)
    made = Reading(dsn)
    yield made
    made.abandon()


@pytest.fixture
def as_owner(postgres: Postgres) -> Iterator[Callable[[str], None]]:
    """Return what alters the owner's role; it is as it was afterwards."""

    def alter(how: str) -> None:
        with psycopg.connect(postgres.dsn(SUPERUSER, SUPERUSER), autocommit=True) as admin:
            admin.execute(f"ALTER ROLE {OWNER} {how}".encode())

    yield alter
    alter(f"PASSWORD '{postgres.password}' VALID UNTIL 'infinity'")


@pytest.mark.parametrize(
    ("expires", "renewed"),
    [("PASSWORD 'another'", "another"), ("VALID UNTIL '2000-01-01'", "")],
)
def test_a_password_that_expires_is_read_again_where_it_came_from(
    postgres: Postgres,
    connect: Connect,
    reading: Reading,
    as_owner: Callable[[str], None],
    expires: str,
    renewed: str,
) -> None:
    airflow = connect()
    as_owner(expires)
    add_task(airflow, "while the session lives")
    assert reading.tells("while the session lives")
    cut(postgres)
    add_task(airflow, "while there is none")
    assert eventually(lambda: "password authentication failed" in reading.reader.trouble)
    assert postgres.password not in reading.reader.trouble
    assert reading.reader.trouble.startswith("without the database for")
    if renewed:
        reading.dsn = make_conninfo(reading.dsn, password=renewed)
    else:
        as_owner("VALID UNTIL 'infinity'")
    assert reading.tells("while the session lives", "while there is none")
    reading.end()
    assert reading.stream.gaps == []
    assert reading.reader.trouble == ""


def test_a_token_in_a_password_file_is_read_for_every_connection(
    postgres: Postgres,
    dsn: str,
    connect: Connect,
    as_owner: Callable[[str], None],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tokens = tmp_path / "pgpass"
    tokens.touch(0o600)
    tokens.write_text(f"*:*:*:*:{postgres.password}")
    monkeypatch.setenv("PGPASSFILE", str(tokens))
    audit.install(dsn)
    reading = Reading(make_conninfo(dsn, password=""))
    airflow = connect()
    as_owner("PASSWORD 'another'")
    tokens.write_text("*:*:*:*:another")
    cut(postgres)
    add_task(airflow, "t")
    assert reading.tells("t")
    reading.end()
    assert reading.stream.gaps == []


def test_an_idle_connection_is_asked_whether_it_is_there(dsn: str) -> None:
    with connection.connect(dsn) as made:
        link = socket.socket(fileno=made.fileno())
        try:
            asked = [
                link.getsockopt(socket.IPPROTO_TCP, option)
                for option in (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT)
            ]
            assert link.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        finally:
            link.detach()
    assert asked == [10, 3, 3]


@pytest.mark.parametrize("how", ["reset", "silence"])
def test_a_link_that_breaks_or_falls_silent_loses_nothing(
    dsn: str, connect: Connect, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    monkeypatch.setattr(connection, "SILENCE", 1.0)
    audit.install(dsn)
    with Cable(int(str(conninfo_to_dict(dsn)["port"]))) as cable:
        reading = Reading(make_conninfo(dsn, port=cable.port))
        add_task(connect(), "before")
        assert reading.tells("before")
        if how == "reset":
            cable.reset()
        else:
            cable.fall_silent()
        add_task(connect(), "meanwhile")
        if how == "silence":
            assert eventually(lambda: reading.reader.trouble != "", 20)
            cable.mend()
        assert reading.tells("before", "meanwhile")
        assert "was without the database" in reading.notes()
        reading.end()
    assert reading.stream.gaps == []


def test_a_reader_that_waits_in_vain_is_woken_and_what_it_missed_is_read(
    dsn: str, connect: Connect
) -> None:
    audit.install(dsn)
    with Cable(int(str(conninfo_to_dict(dsn)["port"]))) as cable:
        reading = Reading(make_conninfo(dsn, port=cable.port))
        cable.fall_silent()
        time.sleep(0.3)
        add_task(connect(), "meanwhile")
        reading.stop.set()
        reading.reader.interrupt()
        reading.thread.join(40)
        assert not reading.thread.is_alive()
        cable.mend()
        reading.end()
    assert reading.told() == ["meanwhile"]
    assert reading.stream.gaps == []


PILED = [f"t{number}" for number in range(40)]


def piled_up(postgres: Postgres, connect: Connect) -> psycopg.Connection:
    """Commit tasks while nobody can read; return the session that did."""
    writer = connect(autocommit=False)
    for name in PILED:
        add_task(writer, name)
    cut(postgres)
    writer.commit()
    return writer


def test_what_piles_up_is_read_in_portions_in_order_and_once(
    postgres: Postgres, connect: Connect, reading: Reading, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorder_database, "AT_ONCE", 7)
    emitted: list[int] = []
    emit = reading.stream.emit

    def counted(events: Sequence[Event]) -> None:
        emitted.append(len(events))
        emit(events)

    monkeypatch.setattr(reading.stream, "emit", counted)
    writer = piled_up(postgres, connect)
    assert reading.tells(*PILED)
    add_task(writer, "after")
    writer.commit()
    assert reading.tells(*PILED, "after")
    assert max(emitted) <= 7
    reading.end()
    assert reading.stream.gaps == []


def test_where_the_session_is_lost_between_two_portions_nothing_is_told_twice(
    postgres: Postgres, connect: Connect, reading: Reading, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorder_database, "AT_ONCE", 7)
    losses = iter([1, 2])

    def relieve() -> None:
        if next(losses, None):
            raise psycopg.OperationalError("the connection is lost")

    monkeypatch.setattr(reading.stream, "relieve", relieve)
    writer = piled_up(postgres, connect)
    assert reading.tells(*PILED)
    assert next(losses, None) is None
    add_task(writer, "after")
    writer.commit()
    assert reading.tells(*PILED, "after")
    reading.end()
    assert reading.stream.gaps == []


@pytest.mark.parametrize("blocked", [False, True])
def test_an_audit_that_vacuum_cannot_shrink_is_emptied_or_given_up(
    dsn: str, connect: Connect, monkeypatch: pytest.MonkeyPatch, blocked: bool
) -> None:
    monkeypatch.setattr(recorder_database, "TRIM_EVERY", 0.0)
    monkeypatch.setattr(recorder_database, "EMPTY_ABOVE", 100_000)
    monkeypatch.setattr(recorder_database, "MOST_BYTES", 300_000)
    audit.install(dsn)
    airflow, old = connect(), connect("report", autocommit=False)
    old.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
    old.execute(f"SELECT count(*) FROM {'oracle.audit' if blocked else 'task_instance'}".encode())
    reading = Reading(dsn, trims=True)
    add_task(airflow, "t")
    for number in range(1500):
        set_state(airflow, "t", f"s{number}")
    size = "SELECT pg_table_size('oracle.audit')"

    def bounded() -> bool:
        row = airflow.execute(size).fetchone()
        return row is not None and row[0] < 300_000

    if blocked:
        assert eventually(lambda: any("has grown" in gap for gap in reading.stream.gaps))
        written = "SELECT last_value FROM oracle.audit_seq_seq"  # its size may grow
        before = airflow.execute(written).fetchone()
        for number in range(300):
            set_state(airflow, "t", f"s{number}")
        assert airflow.execute(written).fetchone() == before
        reading.abandon()
        return
    assert eventually(bounded)
    assert eventually(lambda: len(reading.told()) == 1501)
    reading.end()
    assert reading.stream.gaps == []


@pytest.fixture(scope="module")
def pair() -> Iterator[tuple[Postgres, Postgres]]:
    """Run a primary with a database of Airflow's, and its standby."""
    with server() as primary, standby_of(primary) as standby:
        yield primary, standby


def test_a_standby_is_refused_in_a_line_that_names_it(pair: tuple[Postgres, Postgres]) -> None:
    primary, standby = pair
    dsn = make_database(primary)
    assert caught_up(primary, standby)
    there = make_conninfo(dsn, port=standby.port)
    for refused in (audit.rehearse, audit.install, audit.remove):
        with pytest.raises(audit.AuditError, match=f"{standby.port} is a standby") as caught:
            refused(there)
        assert "\n" not in str(caught.value)
    with pytest.raises(UserError, match="is a standby") as also:
        try_installing(there, "airflow at db")
    assert "URL of the primary" in str(also.value)


def test_a_backup_of_a_standby_goes_on_during_an_observation(
    pair: tuple[Postgres, Postgres],
) -> None:
    primary, standby = pair
    dsn = make_database(primary)
    audit.install(dsn)
    assert caught_up(primary, standby)
    done = subprocess.run(
        [binaries() / "pg_dump", "-d", make_conninfo(dsn, port=standby.port), "-f", os.devnull],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_a_standby_that_takes_over_is_gone_on_with_and_the_verdict_is_unknown(
    pair: tuple[Postgres, Postgres],
) -> None:
    primary, standby = pair
    dsn = make_database(primary)
    audit.install(dsn)
    with psycopg.connect(dsn, autocommit=True) as airflow:
        reading = Reading(dsn)
        add_task(airflow, "before")
        assert reading.tells("before")
    assert caught_up(primary, standby)
    primary.stop("immediate")
    reading.dsn = make_conninfo(dsn, port=standby.port)
    assert eventually(lambda: "is a standby" in reading.reader.trouble)
    promote(standby)
    assert eventually(lambda: len(reading.stream.gaps) >= 2, 15)
    assert "another server answers" in reading.stream.gaps[0]
    assert "emptied the audit" in reading.stream.gaps[1]
    with psycopg.connect(reading.dsn, autocommit=True) as airflow:

        def seen() -> bool:
            set_state(airflow, "before", str(time.monotonic()))
            return len(reading.told()) > 1

        assert eventually(seen)
    reading.end()
    audit.install(reading.dsn)
    assert installed(reading.dsn), "the next session has a whole one"
    audit.remove(reading.dsn)


def test_a_server_that_is_restarted_is_told_and_no_gap() -> None:
    with server() as own:
        dsn = make_database(own)
        audit.install(dsn)
        reading = Reading(dsn)
        with psycopg.connect(dsn, autocommit=True) as airflow:
            add_task(airflow, "t")
        own.stop()
        own.start()
        with psycopg.connect(dsn, autocommit=True) as airflow:
            set_state(airflow, "t", "queued")
        assert reading.tells("t", "t")
        assert "was restarted at" in reading.notes()
        reading.end()
        assert reading.stream.gaps == []
