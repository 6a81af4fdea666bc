"""A database's URL as SQLAlchemy and the driver inside Airflow read it, in libpq's words.

SQLAlchemy's grammar is not that of RFC 3986: in a password, everything but an @ is taken as it
stands, and there is no fragment. (Read from `sqlalchemy/engine/url.py`, `dialects/postgresql` and
`asyncpg/connect_utils.py`; 1.4, 2.0 and 2.1 agree. tests/system/test_urls.py asks them.)

No message says any part of a URL: what is not escaped ends up in the wrong one.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote

from psycopg import pq
from psycopg.conninfo import make_conninfo

from common.errors import UserError
from common.files import write_whole

PORT = 5432

FILES = ("sslrootcert", "sslcert", "sslkey", "sslcrl", "passfile")
"""The parameters that are paths of files."""

_URL = re.compile(
    r"""
    (?P<scheme>\w+) (?:\+\w+)? ://
    (?: (?P<user>[^:/]*) (?: :(?P<password>[^@]*) )? @ )?
    (?: \[(?P<quoted>[^/?]+)\] | (?P<host>[^/:?]+) )?
    (?: :(?P<port>[^/?]*) )?
    (?: /(?P<name>[^?]*) )?
    (?: \?(?P<query>.*) )?
    """,
    re.VERBOSE | re.DOTALL,
)
_ESCAPE = (
    "Escape the characters @ : / ? # % of the user and the password there: %40 for an @, %2F for "
    "a slash."
)
_TRUTH = {"true": "require", "1": "require", "false": "disable", "0": "disable"}
"""How `ssl` is said where the value is none of libpq's modes, as JDBC's URLs have it."""

# What we set ourselves, or what would make another session of ours than the one we ask for.
_OURS = frozenset(
    {"application_name", "fallback_application_name", "connect_timeout", "client_encoding"}
    | {"tcp_user_timeout", "keepalives", "keepalives_idle", "keepalives_interval"}
    | {"keepalives_count", "replication"}
)
_LIBPQ = {each.keyword.decode() for each in pq.Conninfo.get_defaults()} - _OURS
_HOST_PORT = re.compile(r"(?P<host>[\w.-]*)(?::(?P<port>\d*))?")
_APART = frozenset({"host", "hostaddr", "port", "dbname", "user", "password"})


@dataclass(frozen=True)
class Database:
    """A database, and who logs in, in libpq's words; `more` are further parameters.

    `host` and `port` may be several, with commas between, as libpq has them, and so may `address`:
    where a host is connected to, if that is not its name's own address. `files` are the texts of
    files that `more` names, by parameter, as long as they are not on this machine (`placed`).
    """

    host: str
    port: int | str
    name: str
    user: str
    password: str = field(repr=False)
    more: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    address: str = ""
    files: tuple[tuple[str, str], ...] = field(default=(), repr=False)

    def __post_init__(self) -> None:
        """Have tuples again of what JSON has made lists of."""
        for name in ("more", "files"):
            pairs = tuple((str(key), str(value)) for key, value in getattr(self, name))
            object.__setattr__(self, name, pairs)

    @property
    def hosts(self) -> list[tuple[str, int]]:
        """Return each host, with its port."""
        hosts, ports = self.host.split(","), str(self.port).split(",")
        if len(ports) == 1:
            ports *= len(hosts)
        return [(host, int(port or PORT)) for host, port in zip(hosts, ports, strict=True)]

    @property
    def place(self) -> str:
        """Return where it is, for people."""
        return ", ".join(f"{_bracketed(host)}:{port}" for host, port in self.hosts)

    def conninfo(self, forwarded: Sequence[int | None] | int | None = None) -> str:
        """Return libpq conninfo; through a port here for each host, where it has one.

        The certificate is still that of the URL's host.
        """
        hosts = self.hosts
        if forwarded is None or isinstance(forwarded, int):
            forwarded = [forwarded] * len(hosts)
        local = list(forwarded)
        there: dict[str, Any] = {
            "host": self.host,
            "port": ",".join(
                str(here or port) for (_, port), here in zip(hosts, local, strict=True)
            ),
        }
        known = self.address.split(",") if self.address else [""] * len(hosts)
        addresses = ["127.0.0.1" if here else at for here, at in zip(local, known, strict=True)]
        if any(addresses):
            there["hostaddr"] = ",".join(addresses)
        return make_conninfo(
            dbname=self.name,
            user=self.user,
            password=self.password or None,
            application_name="ha-chaos",
            **{**dict(self.more), **there},
        )

    def is_at_place_of(self, other: "Database") -> bool:
        """Tell whether two are one database, whoever logs in with whatever password."""
        return (self.place, self.name) == (other.place, other.name)

    def placed(self, folder: Path) -> "Database":
        """Write `files` into a folder, readable by their owner alone, and name them there."""
        paths = {
            parameter: str(write_whole(folder / f"database.{parameter}", text, mode=0o600))
            for parameter, text in self.files
        }
        more = tuple((key, paths.get(key, value)) for key, value in self.more)
        return replace(self, more=more, files=())


def parse_url(url: str, defaults: Mapping[str, str] | None = None) -> Database:
    """Read a SQLAlchemy or libpq URL; what libpq here does not know of it is left out.

    `defaults` are libpq's parameters where the URL has none, as PGPASSWORD and its kind give them.
    Raises UserError, without any part of the URL: it holds a password.
    """
    parts = _parts(url.strip())
    query = _query(parts["query"] or "")
    ports = query.pop("port", []) or [parts["port"] or ""]
    hosts = query.pop("host", []) or [unquote(parts["quoted"] or parts["host"] or "")]
    said = {
        **(defaults or {}),
        **_filled(
            dbname=unquote(parts["name"] or ""),
            user=unquote(parts["user"] or ""),
            password=unquote(parts["password"] or ""),
        ),
        **{key: values[-1] for key, values in query.items()},
    }
    said = {**said, **_filled(**_place(hosts, ports, dict(defaults or {})))}
    more = {key: value for key, value in said.items() if key in _LIBPQ - _APART}
    return Database(
        host=said["host"],
        port=int(said["port"]) if said["port"].isdigit() else said["port"],
        name=said.get("dbname") or said.get("user") or "airflow",
        user=said.get("user", ""),
        password=said.get("password", ""),
        more=tuple(sorted(more.items())),
        address=said.get("hostaddr", ""),
    )


def _parts(url: str) -> dict[str, str | None]:
    found = _URL.fullmatch(url)
    if found is None:
        raise UserError(
            "The database's URL cannot be read: it is not postgresql://USER:PASSWORD@HOST/DATABASE."
        )
    parts = found.groupdict()
    if parts["scheme"] not in ("postgresql", "postgres"):
        known = parts["scheme"] in ("mysql", "mariadb", "sqlite", "mssql", "oracle")
        scheme = parts["scheme"] if known else "of another kind"
        raise UserError(f"The metadata database is {scheme}: the recorder needs PostgreSQL.")
    # SQLAlchemy ends the password at the first @. No host has one, so the last one is meant.
    host, name = parts["host"] or "", parts["name"] or ""
    if "@" in host and parts["password"] is not None:
        rest, _, parts["host"] = host.rpartition("@")
        parts["password"] = f"{parts['password']}@{rest}"
    elif "@" in host or "@" in name or "@" in (parts["port"] or ""):
        raise UserError("The database's URL cannot be read: its host or name has an @.", _ESCAPE)
    return parts


def _query(text: str) -> dict[str, list[str]]:
    """Return the query's arguments, each with its values, called as libpq calls them."""
    found: dict[str, list[str]] = {}
    for key, value in parse_qsl(text):
        found.setdefault({"database": "dbname"}.get(key, key), []).append(value)
    if "ssl" in found:
        mode = found.pop("ssl")[-1]
        found.setdefault("sslmode", [_TRUTH.get(mode.lower(), mode)])
    return found


def _place(hosts: list[str], ports: list[str], defaults: dict[str, str]) -> dict[str, str]:
    """Return `host` and `port`: of `a:1` each, repeated, or of lists with commas between."""
    if ":" in ports[0]:  # libpq's own URIs: a:1,b:2
        hosts, ports = f"{hosts[0]}:{ports[0]}".split(","), [""]
    separate = [_HOST_PORT.fullmatch(host) for host in hosts]
    if len(hosts) > 1 or (ports == [""] and separate[0] and separate[0]["port"]):
        names = [each["host"] if each else host for each, host in zip(separate, hosts, strict=True)]
        numbers = [each["port"] or "" if each else "" for each in separate]
        if not any(numbers):
            numbers = ports
    else:
        names, numbers = hosts[0].split(","), ",".join(ports).split(",")
    if not any(names):
        names = defaults.get("host", "localhost").split(",")
    if not any(numbers):
        numbers = defaults.get("port", str(PORT)).split(",")
    numbers = [each or str(PORT) for each in numbers]
    if not all(each.isascii() and each.isdigit() and 0 < int(each) < 65536 for each in numbers):
        raise UserError("The database's URL cannot be read: its port is not a number.", _ESCAPE)
    if len(numbers) not in (1, len(names)):
        raise UserError("The database's URL cannot be read: it has not a port for each host.")
    return {"host": ",".join(names), "port": ",".join(numbers)}


def _filled(**values: str) -> dict[str, str]:
    return {key: value for key, value in values.items() if value}


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
