"""Why Airflow's API refused, from the body of its answer."""

import json

import pytest

from lab.api import reason

DATABASE = {"reason": "Database error", "statement": "INSERT", "message": "Error with id 1491"}


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"detail": {**DATABASE, "orig_error": "no field\nCONTEXT: f"}}, "no field CONTEXT: f"),
        ({"detail": {**DATABASE, "orig_error": "hidden"}}, "Database error"),
        ({"detail": "Dag with dag_id: 'x' not found"}, "Dag with dag_id: 'x' not found"),
        ({"detail": [{"loc": ["body"], "msg": "Field required"}]}, "Field required"),
        ({"title": "Not Found"}, '{"title": "Not Found"}'),
        ({}, ""),
    ],
)
def test_the_most_telling_words_are_taken(body: object, said: str) -> None:
    assert reason(json.dumps(body)) == said


def test_what_is_no_json_is_said_in_one_short_line() -> None:
    assert reason(b"Internal Server Error\n") == "Internal Server Error"
    assert reason(b"") == ""
    assert len(reason("x" * 1000)) == 300
