"""What a URL means to the SQLAlchemy of each release is what it means to us."""

import json
import subprocess

import pytest

from lab.cluster.url import PORT, Database, parse_url
from lab.environments.preparation import prepare
from tests.system.test_statements import versions

pytestmark = pytest.mark.xdist_group("labs-2")

URLS = [
    "postgresql://u:p@h/d",
    "postgresql+psycopg2://u:p@h:5433/d?sslmode=require&connect_timeout=3",
    "postgresql://u:pa/ss#wo?rd@h:5433/d",
    "postgresql://u:p:w@h/d",
    "postgresql://u:p%40s%2Fs%2B+@h/d",
    "postgresql://u:@h/d",
    "postgresql://u@h/d",
    "postgresql://h/d",
    "postgresql://user@tenant:pw@srv.example/d",
    "postgresql://u:p@[fd00::2]:7/d?sslmode=verify-full&sslrootcert=/x/ca.crt",
    "postgresql://u:p@/d?host=a:1&host=b:2",
    "postgresql://u:p@/d?host=a,b&port=1,2&target_session_attrs=read-write",
    "postgresql://u:p@/d?host=/var/run/postgresql",
    "postgresql://u:p@h:1/d?host=other&port=2",
    "postgresql://u:p@h/d?options=-c%20search_path%3Dx%20-c%20statement_timeout%3D9",
    "postgresql://u:p@h/d?user=v&password=w",
    "postgresql://u:p@h/d?service=s",
    "postgresql+asyncpg://u:p@h:1/d?ssl=verify-full&prepared_statement_cache_size=0",
]

_ASKED = """
import json, sys
from sqlalchemy.engine.url import make_url
def arguments(text):
    url = make_url(text)
    return url.get_dialect()().create_connect_args(url)[1]
print(json.dumps([arguments(each) for each in json.load(sys.stdin)]))
"""


@pytest.mark.parametrize("version", versions())
def test_a_url_is_read_as_sqlalchemy_reads_it(version: str) -> None:
    done = subprocess.run(
        [str(prepare(version).python), "-c", _ASKED],
        input=json.dumps(URLS),
        capture_output=True,
        text=True,
        check=True,
    )
    for url, arguments in zip(URLS, json.loads(done.stdout), strict=True):
        ours = parse_url(url)
        assert said(ours) == wanted(arguments), f"{url} is {arguments}"


def said(database: Database) -> dict[str, object]:
    """Return what we would give libpq."""
    return {
        "hosts": database.hosts,
        "name": database.name,
        "user": database.user,
        "password": database.password,
        **dict(database.more),
    }


def wanted(arguments: dict[str, str]) -> dict[str, object]:
    """Return what the driver is given, in the same words."""
    left = dict(arguments)
    hosts = left.pop("host").split(",")
    ports = str(left.pop("port", "") or "").split(",")
    ports = ports * len(hosts) if len(ports) == 1 else ports
    if "ssl" in left:
        left["sslmode"] = left.pop("ssl")
    for ours in ("connect_timeout", "prepared_statement_cache_size"):
        left.pop(ours, None)
    return {
        "hosts": [(host, int(port or PORT)) for host, port in zip(hosts, ports, strict=True)],
        "name": left.pop("dbname", None) or left.pop("database"),
        "user": left.pop("user", ""),
        "password": left.pop("password", ""),
        **left,
    }
