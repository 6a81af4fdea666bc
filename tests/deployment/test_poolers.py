"""A pooler is known by what its pods mount, and the recorder goes past it, or is refused."""

from collections.abc import Iterator

import pytest
from psycopg.conninfo import conninfo_to_dict

from common.errors import UserError
from lab.cluster.database import find_database, reached
from lab.cluster.discovery import discover
from run.keeper import try_installing
from tests.deployment.airflow import Airflow
from tests.deployment.attaching import attach
from tests.deployment.release import config_map, database, pod, release, secret, service
from tests.deployment.standin import Manifest, StandIn
from tests.recorder.pgbouncer import PROGRAM, pgbouncer

LABELS = {"component": "pgbouncer", "release": "airflow", "tier": "airflow"}


def ini(name: str, host: str = "airflow-db", mode: str = "transaction") -> str:
    return (
        f"[databases]\nairflow-metadata = host={host} dbname={name} port=5432 pool_size=10\n"
        f"airflow-result-backend = host=elsewhere dbname=other port=1\n\n[pgbouncer]\n"
        f"pool_mode = {mode}\nlisten_port = 6543\nstats_users = airflow\n"
    )


def pooler(kind: str = "secret", name: str = "my-pgbouncer", path: str = "") -> list[Manifest]:
    """The chart's PgBouncer, which has its pgbouncer.ini from an object of any name."""
    path = path or "/etc/pgbouncer/pgbouncer.ini"
    mount = {"name": "c", "mountPath": path}
    if path.endswith(".ini"):
        mount["subPath"] = "pgbouncer.ini"
    main = {
        "name": "pgbouncer",
        "ports": [{"name": "pgbouncer", "containerPort": 6543}],
        "volumeMounts": [mount],
    }
    of = {"secret": {"secretName": name}} if kind == "secret" else {"configMap": {"name": name}}
    made = pod("airflow-pgbouncer-1", LABELS, [main], ip="10.1.3.1")
    made["spec"]["volumes"] = [{"name": "c", **of}]
    return [made, service("pooler", LABELS, port=6543)]


def url_of(airflow: Airflow) -> str:
    return f"postgresql+psycopg2://airflow:{airflow.password}@pooler.airflow:6543/airflow-metadata"


@pytest.mark.parametrize("path", ["", "/etc/pgbouncer"])
@pytest.mark.parametrize("kind", ["secret", "configMap"])
def test_the_recorder_goes_past_the_pooler_by_what_it_mounts(
    airflow: Airflow, kind: str, path: str
) -> None:
    make = secret if kind == "secret" else config_map
    configured = make("my-pgbouncer", {"pgbouncer.ini": ini(airflow.name)})
    manifests = [
        *release(url=url_of(airflow), named=True),
        *(*pooler(kind, path=path), configured, *database()),
        secret("airflow-pgbouncer-config", {"pgbouncer.ini": ini("wrong", "wrong", "session")}),
    ]
    with StandIn(manifests) as there:
        there.lead("airflow-db-0", 5432, airflow.port)
        found = attach(there)
    assert found.release.pool_mode == "transaction"
    assert (found.database.host, found.database.name) == ("airflow-db", airflow.name)
    assert "pooler: PgBouncer (transaction pooling; " in found.plan
    assert "my-pgbouncer, key pgbouncer.ini), which the recorder goes past" in found.plan
    assert "a session that sets no name" in found.plan


def test_a_url_past_the_pooler_meets_none(airflow: Airflow) -> None:
    """The chart's PgBouncer is there, and the pods do not use it."""
    chart = secret("airflow-pgbouncer-config", {"pgbouncer.ini": ini(airflow.name)})
    manifests = [
        *release(url=airflow.url("127.0.0.1", 18432)),
        *(*pooler(name="airflow-pgbouncer-config"), chart),
    ]
    with StandIn(manifests) as there:
        there.lead("*", 18432, airflow.port)
        found = attach(there)
    assert found.release.pool_mode == ""
    assert "pooler" not in found.plan
    assert "a row's process by the address that it connects from" in found.plan


def test_a_pooler_that_is_a_sidecar_leads_to_what_is_beside_it(airflow: Airflow) -> None:
    mount = {"name": "p", "mountPath": "/etc/pgbouncer/pgbouncer.ini", "subPath": "pgbouncer.ini"}
    sidecar = {"name": "pgb", "image": "x", "volumeMounts": [mount]}
    volume = {"name": "p", "configMap": {"name": "side"}}
    url = url_of(airflow).replace("pooler.airflow", "127.0.0.1")
    manifests = release(url=url, sidecars=[sidecar], mounts=[(volume, {**mount, "name": "p"})])
    configured = config_map("side", {"pgbouncer.ini": ini(airflow.name)})
    with StandIn([*manifests, configured, *database()]) as there:
        there.lead("airflow-db-0", 5432, airflow.port)
        found = attach(there)
    assert (found.release.pool_mode, found.database.host) == ("transaction", "airflow-db")


@pytest.fixture
def pooled(airflow: Airflow) -> Iterator[int]:
    """Return the port of a PgBouncer in transaction mode in front of the database."""
    if PROGRAM is None:
        pytest.skip("pgbouncer is not installed")
    with pgbouncer(airflow.as_role(), "transaction") as through:
        yield int(str(conninfo_to_dict(through)["port"]))


@pytest.mark.parametrize("known", [True, False])
def test_a_pooler_that_there_is_no_way_past_is_refused(
    airflow: Airflow, pooled: int, known: bool
) -> None:
    """One whose configuration may not be read, and one that nobody expects."""
    parts = pooler() if known else database("pgcat")
    url = airflow.url("pooler" if known else "pgcat", 6543 if known else 5432)
    with StandIn([*release(url=url), *parts, secret("my-pgbouncer", {})]) as there:
        there.deny("get", "secrets", name="my-pgbouncer")
        there.lead("*", 6543, pooled)
        there.lead("*", 5432, pooled)
        found = attach(there)
        assert found.release.pool_mode == ("unknown" if known else "")
        assert ("through which the recorder goes" in found.plan) is known
        client = there.client()
        where, routes = find_database(client, discover(client, "airflow"))
        told = pytest.raises(UserError, match="a pooler is in between")
        with reached(there.kubeconfig(), where, routes) as conninfo, told:
            try_installing(conninfo, "it")
    assert not airflow.has("oracle")
