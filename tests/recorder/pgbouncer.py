"""A real PgBouncer before a real PostgreSQL, for tests; none where it is not installed."""

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from lab.embedded.postgres import free_port

PROGRAM = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")

_INI = """
[databases]
* = host=127.0.0.1 port={port}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {listen}
unix_socket_dir =
auth_type = trust
auth_file = {folder}/users
pool_mode = {mode}
server_round_robin = {in_turn}
default_pool_size = {size}
query_wait_timeout = 5
ignore_startup_parameters = extra_float_digits
logfile = {folder}/log
"""


@contextmanager
def pgbouncer(dsn: str, mode: str, *, in_turn: bool = False, size: int = 10) -> Iterator[str]:
    """Run one before the server of `dsn`; lend conninfo that leads through it."""
    assert PROGRAM is not None
    there = conninfo_to_dict(dsn)
    listen = free_port()
    folder = Path(tempfile.mkdtemp(prefix="ha-chaos-pgbouncer-"))
    folder.chmod(0o777)
    (folder / "users").write_text(f'"{there["user"]}" "{there["password"]}"\n')
    (folder / "ini").write_text(
        _INI.format(
            port=there["port"],
            listen=listen,
            folder=folder,
            mode=mode,
            in_turn=int(in_turn),
            size=size,
        )
    )
    as_nobody = ["-u", "nobody"] if os.geteuid() == 0 else []
    process = subprocess.Popen(
        [PROGRAM, "-q", *as_nobody, str(folder / "ini")], stderr=subprocess.DEVNULL
    )
    through = make_conninfo(dsn, port=listen, gssencmode="disable")
    try:
        _answers(through)
        yield through
    finally:
        process.terminate()
        process.wait(10)
        shutil.rmtree(folder)


def _answers(through: str, timeout: float = 10.0) -> None:
    deadline = time.monotonic() + timeout
    while True:
        try:
            psycopg.connect(through, connect_timeout=3).close()
        except psycopg.OperationalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
        else:
            return
