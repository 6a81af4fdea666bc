"""The database's URL is read where the pods have it from, or one is told where that is."""

from collections.abc import Callable, Iterable
from typing import Any

import pytest

from common.errors import UserError
from tests.deployment.airflow import Airflow
from tests.deployment.attaching import Attached, attach
from tests.deployment.release import (
    CONFIG,
    CONN,
    config_map,
    database,
    from_secret,
    release,
    secret,
)
from tests.deployment.standin import Manifest, StandIn

Attach = Callable[..., Attached]

SECRET = "s3cr3t-Tr0ub"


def mounted(path: str, volume: Manifest) -> list[Any]:
    return [({"name": "v", **volume}, {"name": "v", "mountPath": path})]


@pytest.fixture
def attached(airflow: Airflow) -> Attach:
    """Return what attaches to a release that has its URL in its own way."""

    def run(conn: Iterable[Manifest], *manifests: Manifest, **more: Any) -> Attached:
        with StandIn([*release(conn=conn, **more), *database(), *manifests]) as there:
            there.lead("airflow-db-0", 5432, airflow.port)
            return attach(there)

    return run


def test_a_literal_value_is_the_url(attached: Attach, airflow: Airflow) -> None:
    found = attached([{"name": CONN, "value": airflow.url()}])
    assert f"its URL is from variable {CONN}" in found.plan


def test_a_value_is_put_together_as_a_kubelet_does(attached: Attach, airflow: Airflow) -> None:
    value = f"postgresql+psycopg2://$(DB_USER):$(DB_PASSWORD)@airflow-db/{airflow.name}"
    conn = [
        from_secret("DB_USER", "db", "user"),
        from_secret("DB_PASSWORD", "db", "password"),
        {"name": CONN, "value": value},
    ]
    found = attached(conn, secret("db", {"user": "airflow", "password": airflow.password}))
    assert "with Secret db, key user with Secret db, key password" in found.plan


def test_airflow_s_own_expansion_is_done_too(attached: Attach, airflow: Airflow) -> None:
    url = airflow.url().replace(airflow.password, "${DB_PASSWORD}")
    found = attached(
        [{"name": CONN, "value": url}, from_secret("DB_PASSWORD", "db", "password")],
        secret("db", {"password": airflow.password}),
    )
    assert found.role == "airflow"


def test_all_of_a_secret_may_be_variables(attached: Attach, airflow: Airflow) -> None:
    env_from = [
        {"configMapRef": {"name": "none", "optional": True}},
        {"prefix": "AIRFLOW__DATABASE__", "secretRef": {"name": "env"}},
    ]
    found = attached([], secret("env", {"SQL_ALCHEMY_CONN": airflow.url()}), env_from=env_from)
    assert "its URL is from Secret env, key SQL_ALCHEMY_CONN" in found.plan


def test_of_two_that_have_a_variable_the_later_counts(attached: Attach, airflow: Airflow) -> None:
    env_from = [{"secretRef": {"name": name}} for name in ("wrong", "env")]
    wrong = secret("wrong", {CONN: f"postgresql://u:{SECRET}@nowhere/d"})
    found = attached([], wrong, secret("env", {CONN: airflow.url()}), env_from=env_from)
    assert found.role == "airflow"


def test_a_variable_of_its_own_comes_before_all_of_a_secret(
    attached: Attach, airflow: Airflow
) -> None:
    env_from = [{"secretRef": {"name": "env"}}]
    wrong = secret("env", {CONN: f"postgresql://u:{SECRET}@nowhere/d"})
    found = attached([{"name": CONN, "value": airflow.url()}], wrong, env_from=env_from)
    assert found.role == "airflow"


@pytest.mark.parametrize("kind", ["secret", "configMap", "projected"])
def test_a_mounted_airflow_cfg_has_it(attached: Attach, airflow: Airflow, kind: str) -> None:
    text = f"{CONFIG}[database]\nsql_alchemy_conn = {airflow.url()}\n"
    volumes: dict[str, Manifest] = {
        "secret": {"secretName": "cfg", "items": [{"key": "k", "path": "airflow.cfg"}]},
        "configMap": {"name": "cfg", "items": [{"key": "k", "path": "airflow.cfg"}]},
        "projected": {
            "sources": [{"secret": {"name": "cfg", "items": [{"key": "k", "path": "airflow.cfg"}]}}]
        },
    }
    make = config_map if kind == "configMap" else secret
    found = attached(
        [{"name": "AIRFLOW_CONFIG", "value": "/cfg/airflow.cfg"}],
        make("cfg", {"k": text}),
        mounts=mounted("/cfg", {kind: volumes[kind]}),
    )
    kept = "ConfigMap" if kind == "configMap" else "Secret"
    assert f"[database] sql_alchemy_conn of {kept} cfg, key k" in found.plan


def test_a_command_that_prints_a_mounted_file_is_that_file(
    attached: Attach, airflow: Airflow
) -> None:
    found = attached(
        [{"name": f"{CONN}_CMD", "value": "cat /mnt/db/url"}],
        secret("db", {"url": f"{airflow.url()}\n"}),
        mounts=mounted("/mnt/db", {"secret": {"secretName": "db"}}),
    )
    assert f"Secret db, key url ({CONN}_CMD)" in found.plan


@pytest.mark.parametrize(
    ("conn", "what"),
    [
        (
            [{"name": f"{CONN}_CMD", "value": "cat /run/url"}],
            "the file /run/url of airflow-scheduler",
        ),
        ([{"name": f"{CONN}_CMD", "value": "sh -c 'get'"}], f"a command .*{CONN}_CMD"),
        ([{"name": f"{CONN}_SECRET", "value": "airflow/conn"}], f"secrets backend .{CONN}_SECRET"),
        ([from_secret(CONN, "none", "k")], "no Secret none in airflow"),
        ([from_secret(CONN, "empty", "k")], "Secret empty in airflow has no key k"),
        ([], "neither its environment nor a mounted airflow.cfg"),
        ([{"name": CONN, "value": f"postgresql://u:p@h:{SECRET}"}], f"from variable {CONN}"),
    ],
)
def test_where_it_is_that_cannot_be_read_is_told(
    attached: Attach, conn: list[Manifest], what: str
) -> None:
    with pytest.raises(UserError, match=what) as caught:
        attached(conn, secret("empty", {}))
    assert "HA_CHAOS_DATABASE_URL" in str(caught.value) or "Escape" in str(caught.value)
    assert SECRET not in str(caught.value)


def test_a_secret_that_may_not_be_read_is_named_with_the_rule(airflow: Airflow) -> None:
    with StandIn([*release(url=airflow.url()), *database()]) as there:
        there.deny("get", "secrets")
        with pytest.raises(UserError, match="Secret airflow-metadata in airflow cannot") as caught:
            attach(there)
    assert "Allow `get secrets` in namespace airflow" in str(caught.value)


def test_a_secret_that_may_have_it_and_may_not_be_read_is_named() -> None:
    env_from = [{"secretRef": {"name": "env"}}]
    with StandIn([*release(conn=[], env_from=env_from), secret("env", {})]) as there:
        there.deny("get", "secrets")
        with pytest.raises(UserError, match="may be in Secret env, which cannot be read"):
            attach(there)


def test_what_libpq_takes_from_the_environment_is_taken(attached: Attach, airflow: Airflow) -> None:
    found = attached(
        [
            {"name": CONN, "value": f"postgresql://airflow@/{airflow.name}"},
            from_secret("PGPASSWORD", "db", "password"),
            {"name": "PGHOST", "value": "airflow-db"},
        ],
        secret("db", {"password": airflow.password}),
    )
    assert found.database.host == "airflow-db"


def test_a_password_is_in_no_plan(attached: Attach, airflow: Airflow) -> None:
    found = attached([{"name": CONN, "value": airflow.url()}])
    assert airflow.password not in found.plan
    assert airflow.password not in repr(found.database)
