"""Why Airflow's API refused, in its own words, from the body of its answer."""

import json
from typing import Any

_LENGTH = 300
# How Airflow's handlers of errors name what happened, the most telling first; without
# `[api] expose_stacktrace` they say "hidden" of a database's own words.
_TELLING = ("orig_error", "msg", "reason", "message")
_HIDDEN = "hidden"


def reason(body: bytes | str) -> str:
    """Return one line: the answer's `detail`, else its text; empty where it says nothing."""
    text = body.decode(errors="replace") if isinstance(body, bytes) else body
    try:
        told = json.loads(text)
    except ValueError:
        told = text
    if isinstance(told, dict):
        told = told.get("detail", told)
    return " ".join(_words(told).split())[:_LENGTH]


def _words(told: Any) -> str:
    if isinstance(told, list) and told:
        told = told[0]
    if isinstance(told, dict):
        said = (told.get(name) for name in _TELLING)
        found = next((words for words in said if words and words != _HIDDEN), None)
        return str(found) if found else json.dumps(told) if told else ""
    return "" if told is None or told == [] else str(told)
