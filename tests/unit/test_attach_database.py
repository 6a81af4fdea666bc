"""A deployment's database URL means the same to libpq here as to SQLAlchemy there."""

import os
import socket
import time
import traceback
from collections.abc import Callable
from pathlib import Path

import pytest
from psycopg.conninfo import conninfo_to_dict

from common.errors import UserError
from lab.cluster.boot import trim
from lab.cluster.database import check
from lab.cluster.pooler import parse
from lab.cluster.url import Database, parse_url
from lab.database import connect


def test_what_is_escaped_in_the_url_is_not_in_the_conninfo() -> None:
    database = parse_url("postgresql+psycopg2://a%40b:p%3Aw%2F%27 @db.x:6432/air%20flow")
    said = conninfo_to_dict(database.conninfo())
    assert said["user"] == "a@b"
    assert said["password"] == "p:w/' "
    assert said["dbname"] == "air flow"
    assert (said["host"], said["port"]) == ("db.x", "6432")


@pytest.mark.parametrize(
    ("query", "kept"),
    [
        ("sslmode=require", {"sslmode": "require"}),
        ("ssl=verify-full", {"sslmode": "verify-full"}),
        ("ssl=true", {"sslmode": "require"}),
        ("options=-c%20search_path%3Dx", {"options": "-c search_path=x"}),
        ("service=s&sslmode=require&sslmode=disable", {"service": "s", "sslmode": "disable"}),
        ("sslmode=disable&prepared_statement_cache_size=0", {"sslmode": "disable"}),
        ("", {}),
    ],
)
def test_how_the_link_is_protected_is_kept(query: str, kept: dict[str, str]) -> None:
    assert dict(parse_url(f"postgresql://u:p@h/d?{query}").more) == kept


def test_through_a_port_forward_the_certificate_is_still_the_hosts() -> None:
    database = parse_url("postgresql://u:p@db.example/d?sslmode=verify-full")
    said = conninfo_to_dict(database.conninfo(15432))
    assert said["host"] == "db.example"
    assert said["hostaddr"] == "127.0.0.1"
    assert said["port"] == "15432"


@pytest.mark.parametrize(
    ("url", "password"),
    [
        ("postgresql://u:pa/ss#wo?rd@h/d", "pa/ss#wo?rd"),
        ("postgresql://u:p:w%2B+x@h/d", "p:w++x"),
        ("postgresql://u:p@ss@h/d", "p@ss"),
        ("postgresql://u:p%40ss@h/d\n", "p@ss"),
        ("postgresql://h/d?user=u&password=p%26w", "p&w"),
        ("postgresql://user@tenant:pw@h/d", "pw"),
    ],
)
def test_a_password_is_what_sqlalchemy_takes_for_it(url: str, password: str) -> None:
    database = parse_url(url)
    assert (database.password, database.host, database.name) == (password, "h", "d")
    assert password not in repr(database)


@pytest.mark.parametrize(
    ("rest", "hosts"),
    [
        ("h/d", [("h", 5432)]),
        ("h:6000/d", [("h", 6000)]),
        ("h/d?port=6000", [("h", 6000)]),
        ("h:1/d?host=other&port=2", [("other", 2)]),
        ("/d?host=a:1&host=b:2", [("a", 1), ("b", 2)]),
        ("/d?host=a&host=b:2", [("a", 5432), ("b", 2)]),
        ("/d?host=a,b&port=1,2", [("a", 1), ("b", 2)]),
        ("/d?host=a,b", [("a", 5432), ("b", 5432)]),
        ("a:1,b:2/d", [("a", 1), ("b", 2)]),
        ("a,b:2/d", [("a", 2), ("b", 2)]),
        ("/d?host=a:1", [("a", 1)]),
        ("[fd00::2]:7/d", [("fd00::2", 7)]),
        ("/d?host=/var/run/postgresql", [("/var/run/postgresql", 5432)]),
        ("%2Fvar%2Frun/d", [("/var/run", 5432)]),
        ("/d", [("localhost", 5432)]),
    ],
)
def test_hosts_and_ports_are_where_sqlalchemy_or_libpq_finds_them(
    rest: str, hosts: list[tuple[str, int]]
) -> None:
    assert parse_url(f"postgresql+psycopg2://u:p@{rest}").hosts == hosts


def test_each_of_several_hosts_has_its_own_way() -> None:
    database = parse_url("postgresql://u:p@/d?host=a:1&host=b:2&target_session_attrs=read-write")
    said = conninfo_to_dict(database.conninfo([15432, None]))
    assert (said["host"], said["port"]) == ("a,b", "15432,2")
    assert said["hostaddr"] == "127.0.0.1,"
    assert said["target_session_attrs"] == "read-write"


@pytest.mark.parametrize(
    "url",
    [
        "mysql://u:se.cret@h/d",
        "sqlite:////x",
        "",
        "se.cret",
        "se.cret://u",
        "postgresql://h:se.cret",
        "postgresql://u:x/se.cret@h:p/d",
        "postgresql://u:x@y/se.cret@h/d",
        "postgresql://u/x:se.cret@h/d",
        "postgresql://u:x@h:se.cret,1/d",
        "postgresql://u:x@h:99999/d?password=se.cret",
        "postgresql://u:x@/d?host=a,b&port=1,2,3&password=se.cret",
    ],
)
def test_what_cannot_be_read_is_told_without_any_part_of_it(url: str) -> None:
    with pytest.raises(UserError) as caught:
        parse_url(url)
    told = "".join(traceback.format_exception(caught.value))
    assert not any(part in str(caught.value) for part in ("se.cret", "cret", "ret@"))
    assert "se.cret" not in told.partition("UserError")[2]


def test_what_this_libpq_does_not_know_is_left_out() -> None:
    url = "postgresql+asyncpg://u:p@h/d?prepared_statement_cache_size=0&command_timeout=3&x=y"
    assert parse_url(url).more == ()
    assert parse_url("postgresql://u:p@h/d?application_name=x&connect_timeout=1").more == ()


INI = """\
;[databases]
[databases]
* = host=elsewhere
airflow-metadata = host=db.x dbname='air flow' port=5433 pool_size=10 pool_mode=session
user = host=other
[pgbouncer]
pool_mode = transaction
listen_port = 6543
"""


def test_the_recorder_goes_past_pgbouncer() -> None:
    pooled = Database("airflow-pgbouncer", 6543, "airflow-metadata", "u", "p")
    pooler = parse(INI, "Secret x", 6543)
    assert pooler is not None
    assert pooler.behind(pooled) == Database("db.x", 5433, "air flow", "u", "p")
    other = Database("airflow-pgbouncer", 6543, "other", "u", "p")
    assert pooler.behind(other) == Database("elsewhere", 5432, "other", "u", "p")
    assert (pooler.mode_of("airflow-metadata"), pooler.mode_of("other")) == (
        "session",
        "transaction",
    )


def test_a_pgbouncer_of_another_port_is_another() -> None:
    assert parse(INI, "x", 5432) is None
    alone = parse("[databases]\n", "x", 5432)
    assert alone is not None
    pooled = Database("p", 5432, "d", "u", "p")
    assert (alone.mode, alone.behind(pooled)) == ("session", pooled)


def test_the_followed_logs_stay_bounded_on_disk(tmp_path: Path) -> None:
    now = time.time()
    for age, (name, size) in enumerate({"new": 40, "old": 40, "older": 40, "huge": 101}.items()):
        path = tmp_path / f"{name}.log"
        path.write_bytes(b"x" * size)
        os.utime(path, (now - age, now - age))
    trim(tmp_path, limit=100, total=90)
    left = {path.stem: path.stat().st_size for path in tmp_path.iterdir()}
    assert left == {"new": 40, "old": 40, "huge": 0}


@pytest.mark.parametrize("reach", [connect, lambda conninfo: check(conninfo, "x at y")])
def test_why_nobody_answers_is_libpq_s_reason_and_not_its_question(
    reach: Callable[[str], object],
) -> None:
    """It says what happened in a first line, and asks whether the server runs in a last one."""
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        where = f"host=127.0.0.1 port={nobody.getsockname()[1]} user=u dbname=d"
        with pytest.raises(UserError, match="Connection refused") as told:
            reach(where)
    assert "Is the server running" not in str(told.value)
