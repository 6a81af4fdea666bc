"""Which rows of `task_instance` are the present try, on both models that Airflow has had."""

import psycopg
import pytest

from lab.ready import PRESENT

pytest_plugins = ["tests.lab.miniature_fixtures"]

BEFORE = """
CREATE TABLE task_instance (id int, state text, map_index int);
INSERT INTO task_instance VALUES (1, 'failed', -1), (2, NULL, -1), (3, 'running', 0)
"""
SINCE = """
CREATE TABLE task_instance (id int, state text, region_index int, working_set boolean);
INSERT INTO task_instance VALUES
    (1, 'failed', -1, true), (2, NULL, -1, true), (3, 'running', 0, true),
    (4, 'queued', -1, NULL), (5, NULL, -1, NULL)
"""


@pytest.mark.parametrize("model", [BEFORE, SINCE], ids=["3.3", "3.4"])
def test_archived_tries_are_passed_over_and_no_others(model: str, dsn: str) -> None:
    with psycopg.connect(dsn) as connection:
        connection.execute("CREATE SCHEMA rows; SET search_path TO rows")
        connection.execute(model)
        found = connection.execute(f"SELECT id FROM task_instance WHERE {PRESENT} ORDER BY id")
        assert [row[0] for row in found] == [1, 2, 3]
        connection.rollback()
