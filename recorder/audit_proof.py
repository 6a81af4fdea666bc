"""Proves the audit where it is to stand, before anything of Airflow's depends on it.

The functions are called by an insert, an update and a delete in tables that have the very columns
of Airflow's, and nothing else of theirs: no keys to satisfy, no listeners of somebody's to wake, no
row of Airflow's touched, no lock on its tables but that of a reader. A savepoint takes it all back.
"""

from recorder.audit_tables import Connection

_FUNCTIONS = {"dag_run": "record_run", "task_instance": "record_ti"}

# UNLOGGED, since a logged table without a key may not be updated under a publication of all tables.
_TABLE = """
    CREATE UNLOGGED TABLE oracle.proof AS SELECT * FROM {table} WITH NO DATA;
    CREATE TRIGGER proof AFTER INSERT OR UPDATE OR DELETE ON oracle.proof
    FOR EACH ROW EXECUTE FUNCTION oracle.{function}();
"""
_CHANGES = {
    "dag_run": """
        INSERT INTO oracle.proof (dag_id, run_id, state) VALUES ('d', 'r', 'queued');
        UPDATE oracle.proof SET state = 'running';
        DELETE FROM oracle.proof;
    """,
    "task_instance": """
        INSERT INTO oracle.proof (id, dag_id, run_id, task_id, state, try_number, max_tries)
        VALUES ('00000000-0000-0000-0000-000000000001', 'd', 'r', 't', 'queued', 1, 2);
        UPDATE oracle.proof SET state = 'running', external_executor_id = 'x';
        DELETE FROM oracle.proof;
    """,
}
_KINDS = {"dag_run": "run", "task_instance": "ti"}
_STATES = [("insert", None, "queued"), ("update", "queued", "running"), ("delete", "running", None)]


class Unproven(Exception):
    """The audit would not record; the message is one clear line."""


def prove(connection: Connection) -> None:
    """Try the functions of schema `oracle` in an open transaction; what it did is rolled back.

    Raises Unproven, or psycopg.Error with the server's reason.
    """
    for table, function in _FUNCTIONS.items():
        with connection.transaction(force_rollback=True):
            connection.execute(_TABLE.format(table=table, function=function).encode())
            connection.execute(_CHANGES[table].encode())
            written = connection.execute(
                "SELECT kind, body FROM oracle.audit ORDER BY seq"
            ).fetchall()
            _check(table, written)


def _check(table: str, written: list[tuple[object, ...]]) -> None:
    told = [
        (body["op"], (body["old"] or {}).get("state"), (body["new"] or {}).get("state"))
        for kind, body in written
        if kind == _KINDS[table] and isinstance(body, dict)
    ]
    if told == _STATES:
        return
    gaps = [
        body.get("reason") for kind, body in written if kind == "gap" and isinstance(body, dict)
    ]
    reason = gaps[0] if gaps else f"{len(told)} of {len(_STATES)} changes were written"
    raise Unproven(f"the audit of {table} does not work here: {reason}")
