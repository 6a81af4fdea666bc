"""What is told of a cluster carries no secrets, and each log line once."""

import pytest

from common.redaction import redact
from lab.kube.logs import _Written
from lab.kube.readiness import Warned, events_of


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("postgresql://airflow:hunter2@db:5432/x refused", "postgresql://***@db:5432/x refused"),
        ("postgresql+psycopg2://a:b@h, redis://:c@h", "postgresql+psycopg2://***@h, redis://***@h"),
        ("PASSWORD=hunter2 next", "PASSWORD=***"),
        ('{"access_token": "abc.def"}', '{"access_token": "***"}'),
        ('secret "airflow-metadata" not found', 'secret "airflow-metadata" not found'),
        ("GET https://host/path?a=1", "GET https://host/path?a=1"),
    ],
)
def test_credentials_are_hidden_and_the_rest_stays(said: str, told: str) -> None:
    assert redact(said) == told


def test_a_deployment_is_told_the_events_of_its_replica_set_only() -> None:
    events = [
        Warned("ReplicaSet", "api-5f7", "FailedCreate: one"),
        Warned("ReplicaSet", "api-other-5f7", "FailedCreate: two"),
        Warned("Pod", "api", "not mine"),
    ]
    assert events_of(events, "Deployment", "api") == ["FailedCreate: one"]


def test_a_line_is_known_again_for_all_that_since_asks_for() -> None:
    written = _Written()
    assert written.since() == ""
    for second in range(60):
        for tenth in range(10):
            written.add(b"2026-01-02T03:04:%02d.%dZ line" % (second, tenth))
    assert written.since() == "2026-01-02T03:04:57Z"
    known = written.lines()
    assert all(known[b"2026-01-02T03:04:%02d.%dZ line" % (s, 5)] == 1 for s in (57, 58, 59))
    assert len(known) <= 120


def test_an_offset_of_the_node_s_clock_is_kept() -> None:
    written = _Written()
    written.add(b"2026-01-02T03:04:05.123456789+02:00 line")
    assert written.since() == "2026-01-02T03:04:03+02:00"
