"""A deployment's database URL means the same to libpq here as to SQLAlchemy there."""

import os
import time
from pathlib import Path

import pytest
from psycopg.conninfo import conninfo_to_dict

from common.errors import UserError
from lab.cluster.boot import trim
from lab.cluster.database import Database, behind_pgbouncer, parse_url


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
    "url", ["mysql://u:secret@h/d", "sqlite:////x", "", "postgresql://h:secret"]
)
def test_what_cannot_be_recorded_is_told_without_the_url(url: str) -> None:
    with pytest.raises(UserError) as caught:
        parse_url(url)
    assert "secret" not in str(caught.value)


def test_the_recorder_goes_past_pgbouncer() -> None:
    pooled = Database("airflow-pgbouncer", 6543, "airflow-metadata", "u", "p")
    ini = """\
[databases]
airflow-metadata = host=db.x dbname=airflow port=5433 pool_size=10
airflow-result-backend = host=other dbname=celery port=1 pool_size=5
[pgbouncer]
pool_mode = transaction
"""
    assert behind_pgbouncer(pooled, ini) == Database("db.x", 5433, "airflow", "u", "p")
    assert behind_pgbouncer(pooled, "[databases]\n") == pooled


def test_the_followed_logs_stay_bounded_on_disk(tmp_path: Path) -> None:
    now = time.time()
    for age, (name, size) in enumerate({"new": 40, "old": 40, "older": 40, "huge": 101}.items()):
        path = tmp_path / f"{name}.log"
        path.write_bytes(b"x" * size)
        os.utime(path, (now - age, now - age))
    trim(tmp_path, limit=100, total=90)
    left = {path.stem: path.stat().st_size for path in tmp_path.iterdir()}
    assert left == {"new": 40, "old": 40, "huge": 0}
