"""Whole sessions that observe, while what hours bring happens to the deployment."""

import pytest

from common.waiting import until
from lab.embedded.postgres import OWNER
from tests.deployment.kills import Place, place
from tests.deployment.release import secret
from tests.labs import at_night

pytestmark = pytest.mark.xdist_group("labs-3")

_END_OURS = """
    SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE application_name ~ '^(ha-chaos|chaos)' AND datname = current_database()
"""


@at_night
def test_a_password_that_is_rotated_meanwhile_costs_nothing_and_leaves_nothing() -> None:
    with place() as where:
        session = where.session(40.0)
        assert until(lambda: "Observing" in where.output, 60), where.output
        _rotate(where, "rot/ated")
        assert session.wait(120) == 0, where.output
        output, found = where.output, until(lambda: not where.found(), 20)
    assert "Gap:" not in output
    assert "rot/ated" not in output
    assert "rot%2Fated" not in output
    assert found


def _rotate(where: Place, password: str) -> None:
    """Give Airflow's role another password, and the Secret too; end the sessions that we have."""
    airflow = where.airflow
    url = airflow.url().replace(airflow.password, password.replace("/", "%2F"))
    where.there.put(secret("airflow-metadata", {"connection": url}))
    airflow.superuser(f"ALTER ROLE {OWNER} PASSWORD '{password}'", _END_OURS)
