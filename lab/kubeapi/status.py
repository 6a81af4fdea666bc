"""Failures as Kubernetes reports them: a Status object with a reason that clients act upon."""

from typing import Any

import msgspec


class ApiError(Exception):
    """An answer that is not success; `body` is the Status object clients parse.

    `details` names the object, and for an invalid one the causes, field by field.
    """

    def __init__(
        self, code: int, reason: str, message: str, details: dict[str, Any] | None = None
    ) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.message = message
        self.details = details or {}

    def body(self) -> bytes:
        """Return the Status as JSON."""
        details = {"details": self.details} if self.details else {}
        return msgspec.json.encode(
            {
                "kind": "Status",
                "apiVersion": "v1",
                "metadata": {},
                "status": "Failure",
                "message": self.message,
                "reason": self.reason,
                **details,
                "code": self.code,
            }
        )


def success() -> bytes:
    """Return the Status that a binding answers with, as JSON."""
    return msgspec.json.encode(
        {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201}
    )


def not_found(resource: str, name: str) -> ApiError:
    """Say that no object has this name."""
    details = {"name": name, "kind": resource}
    return ApiError(404, "NotFound", f'{resource} "{name}" not found', details)


def already_exists(resource: str, name: str) -> ApiError:
    """Say that the name is taken."""
    details = {"name": name, "kind": resource}
    return ApiError(409, "AlreadyExists", f'{resource} "{name}" already exists', details)


def conflict(resource: str, name: str, why: str) -> ApiError:
    """Say that the object is no longer what the client took it for."""
    message = f'Operation cannot be fulfilled on {resource} "{name}": {why}'
    return ApiError(409, "Conflict", message, {"name": name, "kind": resource})


def invalid(kind: str, name: str, causes: list[tuple[str, str, str]]) -> ApiError:
    """Say which fields break the rules; a cause is (field, reason, message)."""
    text = ", ".join(f"{field}: {message}" for field, _, message in causes)
    if len(causes) > 1:
        text = f"[{text}]"
    details = {
        "name": name,
        "kind": kind,
        "causes": [
            {"reason": reason, "message": message, "field": field}
            for field, reason, message in causes
        ],
    }
    return ApiError(422, "Invalid", f'{kind} "{name}" is invalid: {text}', details)


def bad_request(message: str) -> ApiError:
    """Say that the request itself cannot be understood."""
    return ApiError(400, "BadRequest", message)


def expired(message: str) -> ApiError:
    """Say that the history asked for is gone: the client must list again."""
    return ApiError(410, "Expired", message)
