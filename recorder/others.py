"""Watches the tables of `oracle.rows` beside the audit's two: one after the other, where we may.

They are an extra: a table that the release has not, or of which our role may not have a trigger,
is left out, and what is about it abstains. Each is locked alone, and for a moment.
"""

from collections.abc import Iterator
from functools import partial

from oracle.rows import TABLES, Table
from recorder.connection import Connection
from recorder.locks import patiently

_COLUMNS = """
    SELECT attname::text FROM pg_catalog.pg_attribute
    WHERE attrelid = to_regclass(%s) AND attnum > 0 AND NOT attisdropped AND attname = ANY (%s)
"""
_MAY = """
    SELECT has_table_privilege(t.oid, 'SELECT') AND has_table_privilege(t.oid, 'TRIGGER')
    FROM (SELECT to_regclass(%s) AS oid) AS t
"""
_WATCH = """
    CREATE TRIGGER oracle_changed AFTER {deeds} ON {table}
    FOR EACH ROW EXECUTE FUNCTION oracle.record_row({columns})
"""
_WATCHED = """
    SELECT c.oid::regclass::text, c.relname::text, pg_get_triggerdef(t.oid)
    FROM pg_catalog.pg_trigger AS t JOIN pg_catalog.pg_class AS c ON c.oid = t.tgrelid
    WHERE t.tgfoid = to_regprocedure('oracle.record_row()') ORDER BY c.relname
"""


def watch(dsn: str, timeout: float) -> None:
    """Have the audit record the rows of these tables too. Idempotent; raises AuditError."""
    for name, table in TABLES.items():
        patiently(dsn, timeout, partial(_watch, name=name, table=table))


def _watch(connection: Connection, name: str, table: Table) -> None:
    columns = _columns(connection, name, table)
    may = columns and connection.execute(_MAY, (name,)).fetchone() == (True,)
    if not may or name in _watched(connection):
        return
    named = ", ".join(f"'{column}'" for column in columns)
    deeds = "INSERT" if table.comes else "INSERT OR UPDATE OR DELETE"
    connection.execute(_WATCH.format(deeds=deeds, table=name, columns=named).encode())
    connection.execute("INSERT INTO oracle.watched VALUES (%s)", (name,))


def _columns(connection: Connection, name: str, table: Table) -> list[str]:
    """Return those of a table's columns that the release has."""
    found = connection.execute(_COLUMNS, (name, list(table.columns))).fetchall()
    return [str(row[0]) for row in found]


def _watched(connection: Connection) -> set[str]:
    found = connection.execute("SELECT name FROM oracle.watched").fetchall()
    return {str(row[0]) for row in found}


def unwatch(where: str | Connection, timeout: float) -> None:
    """Take these triggers off, a table at a time, whatever edition of us put them there."""
    tables: list[str] = []

    def look(connection: Connection) -> None:
        tables[:] = [str(row[0]) for row in connection.execute(_WATCHED.encode()).fetchall()]

    def drop(connection: Connection, table: str) -> None:
        connection.execute(f"DROP TRIGGER IF EXISTS oracle_changed ON {table}".encode())

    patiently(where, timeout, look)
    for table in tables:
        patiently(where, timeout, partial(drop, table=table))


def rows_seen(connection: Connection) -> Iterator[tuple[str, dict[str, object]]]:
    """Yield the rows that were there before, of the tables where those count."""
    watched = _watched(connection)
    for name, table in TABLES.items():
        if table.seen and name in watched:
            columns = _columns(connection, name, table)
            rows = connection.execute(f"SELECT {', '.join(columns)} FROM {name}".encode())
            yield from ((name, dict(zip(columns, row, strict=True))) for row in rows)
