"""Certificates that are in the pods are taken from where the pods mount them, or named."""

import shutil
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from common.errors import UserError
from lab.cluster.database import find_database, reached
from lab.cluster.discovery import discover
from tests.deployment.airflow import Airflow
from tests.deployment.attaching import attach
from tests.deployment.release import alias, config_map, database, release, secret
from tests.deployment.standin import StandIn
from tests.deployment.tls import tls_before
from tests.unit.kube_ways import Authority, Signed

pytestmark = pytest.mark.skipif(not shutil.which("openssl"), reason="openssl is not there")

FILES = "sslrootcert=/certs/ca/ca.crt&sslcert=/certs/tls.crt&sslkey=/certs/tls.key"
QUERY = f"?sslmode=verify-full&{FILES}"
CERTIFICATES: list[Any] = [
    (
        {"name": "ca", "configMap": {"name": "db-ca"}},
        {"name": "ca", "mountPath": "/certs/ca"},
    ),
    (
        {"name": "own", "projected": {"sources": [{"secret": {"name": "db-client"}}]}},
        {"name": "own", "mountPath": "/certs"},
    ),
]


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def client(authority: Authority) -> Signed:
    return authority.sign("airflow")


@pytest.fixture
def secure(airflow: Airflow, authority: Authority) -> Iterator[int]:
    """Return the port of the database behind TLS, as the Service's name; a certificate is asked."""
    mine = authority.sign("server", "DNS:airflow-db.airflow.svc")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(mine.certificate, mine.key)
    context.load_verify_locations(authority.certificate)
    context.verify_mode = ssl.CERT_REQUIRED
    with tls_before(airflow.port, context) as port:
        yield port


@pytest.fixture
def there(airflow: Airflow, authority: Authority, client: Signed, secure: int) -> Iterator[StandIn]:
    url = airflow.url("airflow-db.airflow.svc", query=QUERY)
    manifests = [
        *release(url=url, mounts=CERTIFICATES),
        *database(),
        config_map("db-ca", {"ca.crt": authority.certificate.read_text()}),
        secret(
            "db-client",
            {"tls.crt": client.certificate.read_text(), "tls.key": client.key.read_text()},
        ),
    ]
    with StandIn(manifests) as there:
        there.lead("airflow-db-0", 5432, secure)
        yield there


def test_they_are_taken_from_where_the_pods_mount_them(there: StandIn) -> None:
    found = attach(there)
    assert found.role == "airflow"
    assert (
        "certificates: sslrootcert from ConfigMap db-ca, key ca.crt; sslcert from Secret "
        "db-client, key tls.crt; sslkey from Secret db-client, key tls.key"
    ) in found.plan
    assert "PRIVATE" not in found.plan + repr(found.database)


def test_they_are_kept_where_nobody_else_reads_them_and_not_longer(
    there: StandIn, tmp_path: Path
) -> None:
    api = there.client()
    where, routes = find_database(api, discover(api, "airflow"))
    placed = where.placed(tmp_path)
    assert placed.files == ()
    for path in tmp_path.iterdir():
        assert path.stat().st_mode & 0o777 == 0o600
    assert {path.name for path in tmp_path.iterdir()} == {
        f"database.{name}" for name in ("sslrootcert", "sslcert", "sslkey")
    }
    with reached(there.kubeconfig(), where, routes) as conninfo:
        paths = psycopg.conninfo.conninfo_to_dict(conninfo)
        psycopg.connect(conninfo).close()
    assert not Path(str(paths["sslkey"])).exists()


def test_the_certificate_is_still_that_of_the_url_s_host(there: StandIn, airflow: Airflow) -> None:
    wrong = airflow.url("airflow-db", query=QUERY)
    there.put(secret("airflow-metadata", {"connection": wrong}))
    with pytest.raises(UserError, match=r"TLS .* does not match host name .airflow-db") as caught:
        attach(there)
    assert "Look at sslmode" in str(caught.value)
    assert "Open a way" not in str(caught.value)


def test_behind_an_alias_it_is_still_that(there: StandIn, secure: int) -> None:
    there.put(alias("airflow-db", "db.databases.svc"), *database("db", "databases"))
    there.lead("db-0", 5432, secure)
    assert attach(there).routes[0].namespace == "databases"


def test_a_file_that_is_in_the_pod_alone_is_named(there: StandIn, airflow: Airflow) -> None:
    query = "?sslmode=verify-ca&sslrootcert=/etc/ours/ca.pem"
    there.put(secret("airflow-metadata", {"connection": airflow.url(query=query)}))
    with pytest.raises(UserError, match=r"/etc/ours/ca.pem .sslrootcert., a file in the") as caught:
        attach(there)
    assert "airflow-scheduler-1 and not here" in str(caught.value)
    assert "sslrootcert=WHERE_IT_IS_HERE" in str(caught.value)


def test_a_file_that_may_not_be_read_is_named_with_the_rule(there: StandIn) -> None:
    there.deny("get", "secrets", name="db-client")
    with pytest.raises(UserError, match=r"needs /certs/tls.crt .sslcert.") as caught:
        attach(there)
    assert "Allow `get secrets` in namespace airflow" in str(caught.value)


def test_where_libpq_looks_by_itself_is_looked_at(
    there: StandIn, airflow: Airflow, authority: Authority
) -> None:
    """No path is in the URL: libpq takes what is in ~/.postgresql of the pods."""
    url = airflow.url("airflow-db.airflow.svc", query="?sslmode=verify-full")
    home = (
        {"name": "pg", "secret": {"secretName": "pg"}},
        {"name": "pg", "mountPath": "/home/airflow/.postgresql"},
    )
    mine = authority.sign("other")
    there.put(
        *release(url=url, mounts=[home]),
        secret(
            "pg",
            {
                "root.crt": authority.certificate.read_text(),
                "postgresql.crt": mine.certificate.read_text(),
                "postgresql.key": mine.key.read_text(),
            },
        ),
    )
    assert "sslkey from Secret pg, key postgresql.key" in attach(there).plan


def test_a_service_of_a_mounted_file_is_read(there: StandIn, airflow: Airflow) -> None:
    said = (
        f"[meta]\nhost=airflow-db.airflow.svc\nuser=airflow\ndbname={airflow.name}\n"
        f"password={airflow.password}\nsslmode=verify-full\n{FILES.replace('&', chr(10))}\n"
    )
    mount = (
        {"name": "s", "secret": {"secretName": "pg-service"}},
        {"name": "s", "mountPath": "/pg", "subPath": ""},
    )
    there.put(
        *release(
            url="postgresql:///?service=meta",
            env={"PGSERVICEFILE": "/pg/pg_service.conf"},
            mounts=[*CERTIFICATES, mount],
        ),
        secret("pg-service", {"pg_service.conf": said}),
    )
    assert attach(there).database.host == "airflow-db.airflow.svc"
    there.put(secret("pg-service", {"pg_service.conf": "[other]\n"}))
    with pytest.raises(UserError, match="names the service meta"):
        attach(there)
