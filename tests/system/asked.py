"""What a release asks its database: every statement of a small flood, as the server logs it."""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
import psycopg

from dags.shapes import dags
from lab.embedded.lab import EmbeddedLab
from lab.embedded.postgres import SUPERUSER, Postgres
from lab.ending import take_down
from lab.environments.preparation import prepare
from lab.life import start
from lab.spec import LabSpec
from tests.labs import eventually

SHAPES = "single*2,diamond:1,impatient:600,serial,producer,consumer"
# The searches for what is stuck in queued and for missing heartbeats are asked for at once.
ENV = {
    "HA_CHAOS_SHAPES": SHAPES,
    "AIRFLOW__SCHEDULER__TASK_QUEUED_TIMEOUT_CHECK_INTERVAL": "2",
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "2",
}
BY_ASSET = "consumer"
# A worker that a slow machine keeps from starting fails its run: it has not asked what it would.
_ATTEMPTS = 3
GOLDEN = Path(__file__).with_name("statements.txt")

_ENTRY = re.compile(r"^(?=\d{4}-\d\d-\d\d [\d:.]+ UTC \[\d+\] )", re.MULTILINE)
_STATEMENT = re.compile(
    r"\S+ \S+ UTC \[\d+\] (?P<who>\S*) ?LOG:  (statement|execute [^:]*): (?P<text>.*)", re.DOTALL
)


@dataclass(frozen=True)
class Asked:
    """One statement as it was sent, and by whom."""

    who: str
    text: str

    @property
    def shape(self) -> str:
        """Return what is the same each time: no values, and none of the selected columns."""
        text = re.sub(r"'(?:[^']|'')*'", "?", self.text)
        text = re.sub(r"(?<![\w.])\d+\b", "?", " ".join(text.split()))
        return re.sub(r"SELECT .*? FROM ", "SELECT ... FROM ", text)


def statements_of(version: str) -> list[Asked]:
    """Flood two schedulers of this version, and return what everybody asked meanwhile."""
    with _lab(version) as lab:
        log = lab.directory / "pg" / "postgres.log"
        begun = log.stat().st_size
        _log_statements(lab)
        for dag_id in dags(SHAPES):
            assert eventually(lambda dag_id=dag_id: _has(lab, dag_id))  # type: ignore[misc]
        wanted = set(dags(SHAPES)) - {BY_ASSET}
        for attempt in range(_ATTEMPTS):
            for dag_id in wanted:
                lab.api.trigger(dag_id, f"asked-{attempt}")
            assert eventually(lambda: _all_ended(lab), timeout=90.0)
            if not (wanted := wanted - _succeeded(lab)):
                break
        assert not wanted, f"no run of {wanted} succeeded"
        text = log.read_bytes()[begun:].decode(errors="replace")
    found = (_STATEMENT.match(entry) for entry in _ENTRY.split(text))
    return [Asked(each["who"], each["text"].strip()) for each in found if each]


def golden() -> dict[tuple[str, str], str]:
    """Return the stored shape of a named statement by name and version."""
    kept: dict[tuple[str, str], str] = {}
    for part in GOLDEN.read_text().split("== ")[1:]:
        title, *lines = part.strip().splitlines()
        name, *versions = title.split()
        kept |= {(name, version): " ".join(lines) for version in versions}
    return kept


def fitting(patterns: Mapping[str, str], seen: list[Asked], dsn: str) -> dict[str, set[str]]:
    """Return the shapes that each pattern fits, as PostgreSQL's own LIKE judges it."""
    by_text = {each.text: each.shape for each in seen}
    with psycopg.connect(dsn) as connection:
        return {
            name: {
                by_text[str(text)]
                for (text,) in connection.execute(
                    "SELECT t FROM unnest(%s::text[]) AS t WHERE t LIKE %s",
                    (list(by_text), pattern),
                )
            }
            for name, pattern in patterns.items()
        }


@contextmanager
def _lab(version: str) -> Iterator[EmbeddedLab]:
    me = psutil.Process()
    spec = LabSpec(prepare(version), triggerers=1, env=ENV)  # a simulated worker defers nothing
    lab = start(spec, owner=(me.pid, me.create_time()))
    assert isinstance(lab, EmbeddedLab)
    try:
        yield lab
    finally:
        take_down(lab.directory)


def _log_statements(lab: EmbeddedLab) -> None:
    server = Postgres(lab.directory / "pg", port=int(lab.endpoints["postgres"]))
    with psycopg.connect(server.dsn(SUPERUSER), autocommit=True) as connection:
        connection.execute("ALTER SYSTEM SET log_statement = 'all'")
        connection.execute("SELECT pg_reload_conf()")


def _has(lab: EmbeddedLab, dag_id: str) -> bool:
    with psycopg.connect(lab.dsn()) as connection:
        found = connection.execute("SELECT FROM serialized_dag WHERE dag_id = %s", (dag_id,))
        return found.fetchone() is not None


def _succeeded(lab: EmbeddedLab) -> set[str]:
    with psycopg.connect(lab.dsn()) as connection:
        rows = connection.execute("SELECT dag_id FROM dag_run WHERE state = 'success'").fetchall()
    return {dag_id for (dag_id,) in rows}


def _all_ended(lab: EmbeddedLab) -> bool:
    with psycopg.connect(lab.dsn()) as connection:
        rows = connection.execute("SELECT dag_id, state FROM dag_run").fetchall()
    ran = {dag_id for dag_id, _ in rows}  # the one that an asset sets off comes after the others
    return ran == set(dags(SHAPES)) and {state for _, state in rows} <= {"success", "failed"}
