"""What the layer `pgbouncer` needs besides values: its configuration, which holds a password."""

from urllib.parse import quote

POOL = 200
CLIENTS = 1000
PORT = 6543

_INI = """\
[databases]
{database} = host={host} port=5432 dbname={database} pool_size={pool}

[pgbouncer]
pool_mode = session
listen_addr = *
listen_port = {port}
auth_type = scram-sha-256
auth_file = /etc/pgbouncer/users.txt
stats_users = {user}
ignore_startup_parameters = extra_float_digits
max_client_conn = {clients}
server_tls_sslmode = disable
"""


def secrets(host: str, user: str, password: str, database: str) -> dict[str, dict[str, str]]:
    """Return the Secrets of the layer, by name: PgBouncer in front of PostgreSQL on `host`.

    Session pooling, for gates and faults count on a session being one process'. The pool is as
    large as all of Airflow's pools together: a client that waited for a server session would be
    held by the test's own set-up. So PostgreSQL must admit more than `POOL` connections.
    """
    ini = _INI.format(
        database=database, host=host, user=user, pool=POOL, clients=CLIENTS, port=PORT
    )
    stats = f"postgresql://{quote(user)}:{quote(password, safe='')}@127.0.0.1:{PORT}/pgbouncer"
    return {
        "ha-chaos-pgbouncer": {
            "pgbouncer.ini": ini,
            "users.txt": f"{_quoted(user)} {_quoted(password)}\n",
        },
        "ha-chaos-pgbouncer-stats": {"connection": f"{stats}?sslmode=disable"},
    }


def _quoted(word: str) -> str:
    """Return a word as PgBouncer's auth_file wants it: in double quotes, its own doubled."""
    return '"{}"'.format(word.replace('"', '""'))
