"""Finds in a worker's log whether the execution API refused to let it start.

What a refused worker writes differs by version (seen with real workers, all of which exit 1):

- 3.0: a JSON line "Server error" with the API's answer, then a plain traceback;
- 3.1: the traceback alone, so that 409 and 404 look the same;
- 3.2: one JSON line with the exceptions; `TaskAlreadyRunningError` if another one was running;
- 3.3: the same, with the API's answer as a Python repr in a note.

The API refuses other calls by the same words (a heartbeat, a last state), so a refusal counts only
where the log shows that it was the start: `_on_child_started`, or the start's own message.
"""

import re

from common.redaction import CUT, excerpt
from oracle.events import Refusal

_QUOTE = r"""\\*['"]"""
_REASON = re.compile(rf"{_QUOTE}reason{_QUOTE}\s*:\s*{_QUOTE}(invalid_state|not_found){_QUOTE}")
_PREVIOUS = re.compile(rf"{_QUOTE}previous_state{_QUOTE}\s*:\s*(?:{_QUOTE}(\w+){_QUOTE}|null|None)")
_MESSAGE = re.compile(rf"{_QUOTE}message{_QUOTE}\s*:\s*{_QUOTE}([^'\"\\]+)")
_FRAME = re.compile(r"[\s│|]+")
_TASK_INSTANCE = re.compile(r"TaskInstance(?:DTO)?\(id=UUID\(\\*'([0-9a-f-]{36})")

_START = "_on_child_started"
_STARTS_OWN_WORDS = "could be marked as running"
_STATUS = {"invalid_state": 409, "not_found": 404}
_OTHER_CALLS = ("Traceback", '"exc_type"', "shouldn't be running anymore")
_ANSWERED = ("ServerResponseError: Server returned error", '"Server returned error"')
_RETRIED = "Starting call to '"
"""The client tries a call again after a 5xx only, and says so before each of those."""


def find_refusal(log: str) -> Refusal | None:
    """Return why a worker was not let start, None if it was (or failed for another reason).

    `reason` is None where the log does not tell 409 `invalid_state` from 404 `not_found`.
    """
    starting = _START in log
    if not starting and not any(reason in log for reason in _STATUS):
        return None
    for found in _REASON.finditer(log):
        answer = _FRAME.sub(" ", log[max(0, found.start() - CUT) : found.end() + CUT])
        if starting or _STARTS_OWN_WORDS in answer or not any(word in log for word in _OTHER_CALLS):
            return _explicit(found[1], answer)
    if not starting:
        return None
    if "TaskAlreadyRunningError" in log:
        return Refusal(409, "invalid_state", "running", "Task instance is already running")
    if _RETRIED not in log and any(words in log for words in _ANSWERED):
        return Refusal(409, None, None, "Server returned error")
    return None


def find_task_instance_id(log: str) -> str | None:
    """Return the id of the task instance that a worker was made for, by its first line."""
    found = _TASK_INSTANCE.search(log)
    return found[1] if found else None


def _explicit(reason: str, answer: str) -> Refusal:
    previous = _PREVIOUS.search(answer)
    message = _MESSAGE.search(answer)
    return Refusal(
        status=_STATUS[reason],
        reason=reason,
        previous_state=previous[1] if previous else None,
        message=excerpt(message[1].strip()) if message else None,
    )
