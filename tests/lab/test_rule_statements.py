"""A scenario names a statement; the pattern of that name fits it in every version, and no other."""

from pathlib import Path

import psycopg
import pytest

from chaos.rule import STATEMENTS

pytest_plugins = ["tests.lab.miniature_fixtures"]

TEXTS = {
    path.stem: path.read_text() for path in (Path(__file__).parent / "statements").glob("*.sql")
}
BEGINNINGS = {"running-dag-runs": "running-", "critical-section": "critical-"}


@pytest.mark.parametrize("name", STATEMENTS)
def test_a_named_statement_is_told_from_all_others(dsn: str, name: str) -> None:
    with psycopg.connect(dsn) as connection:
        fitting = {
            stem
            for stem, text in TEXTS.items()
            if connection.execute("SELECT %s LIKE %s", (text, STATEMENTS[name])).fetchone()
            == (True,)
        }
    beginning = BEGINNINGS[name]
    assert fitting == {f"{beginning}3.0.6", f"{beginning}3.3.2"}
