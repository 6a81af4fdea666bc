"""A whole session watches a deployment: found, planned, recorded, judged, and left as it was."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from common.paths import PROJECT
from lab.embedded.postgres import Postgres
from tests.deployment.airflow import Airflow, Player
from tests.deployment.conftest import api as api
from tests.deployment.conftest import postgres as postgres
from tests.deployment.release import (
    alias,
    config_map,
    database,
    from_secret,
    release,
    secret,
)
from tests.deployment.standin import Manifest, StandIn
from tests.deployment.test_poolers import ini, pooler

pytestmark = pytest.mark.xdist_group("labs-2")

SCHEMA = "af"
PASSWORD = "p/w#a?b"


def manifests(airflow: Airflow) -> list[Manifest]:
    """A release by which all of it is asked at once.

    The URL's password is not escaped, and is put in by the kubelet; the way leads by a pooler,
    whose configuration is in a ConfigMap of any name, and by an alias to another namespace's
    Service; the tables are in a schema of their own.
    """
    url = "postgresql+psycopg2://$(DB_USER):$(DB_PASSWORD)@pooler.airflow.svc:6543/airflow-metadata"
    conn = [
        from_secret("DB_USER", "login", "user"),
        from_secret("DB_PASSWORD", "login", "password"),
        {"name": "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN", "value": url},
    ]
    env = {"AIRFLOW__DATABASE__SQL_ALCHEMY_SCHEMA": SCHEMA}
    return [
        *release(conn=conn, env=env, schedulers=2, named=True),
        secret("login", {"user": "deployed", "password": PASSWORD}),
        *pooler("configMap", name="any-name"),
        config_map("any-name", {"pgbouncer.ini": ini(airflow.name, host="airflow-db")}),
        alias("airflow-db", "db.databases.svc.cluster.local"),
        *database("db", "databases"),
    ]


def test_a_session_observes_whatever_way_its_database_is_reached(
    postgres: Postgres, api: int, tmp_path: Path
) -> None:
    airflow = Airflow(postgres, "deployed_session", schema=SCHEMA).create()
    airflow.superuser(
        f"CREATE ROLE deployed LOGIN PASSWORD '{PASSWORD}' IN ROLE airflow",
    )
    with StandIn(manifests(airflow)) as there:
        there.lead("*", 8080, api)
        there.lead("db-0", 5432, airflow.port)
        player = Player(airflow, there)
        player.start()
        done = subprocess.run(
            [
                *(sys.executable, "-m", "pytest", "suites/", "-q", "-p", "no:cacheprovider"),
                *("--lab", "cluster", "--namespace", "airflow", "--observe", "4"),
            ],
            cwd=PROJECT,
            env={
                **os.environ,
                "KUBECONFIG": str(there.write_kubeconfig(tmp_path / "kubeconfig")),
                "HA_CHAOS_RUNS": str(tmp_path / "runs"),
            },
            capture_output=True,
            text=True,
            timeout=720,
        )
        player.stop()
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    for line in (
        f"database: {airflow.name} at airflow-db:5432, as deployed (its URL is from variable "
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN with Secret login, key user with Secret login, "
        "key password)",
        "way there: airflow-db is another name of db.databases.svc.cluster.local, through a "
        "port-forward to the pods of Service db in databases (app=db)",
        "pooler: PgBouncer (transaction pooling; ConfigMap any-name, key pgbouncer.ini), which "
        "the recorder goes past",
        f"schema of Airflow's tables: {SCHEMA}",
    ):
        assert line in said
    verdicts = [json.loads(path.read_text()) for path in tmp_path.rglob("verdict.json")]
    assert {each["verdict"] for each in verdicts} == {"valid"}, verdicts
    kept = [*tmp_path.rglob("*")]
    texts = [path.read_text(errors="replace") for path in kept if path.is_file()]
    assert not any(PASSWORD in text for text in (said, *texts))
    assert not airflow.has("oracle", "chaos")
    airflow.drop()
    airflow.superuser("DROP ROLE deployed", database="postgres")
