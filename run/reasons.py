"""Airflow's own reason for an error of its API: what its log says, where the answer does not."""

from collections.abc import Iterator
from contextlib import contextmanager

from common.errors import UserError
from common.files import last_exception
from common.redaction import redact
from lab.base import Lab

# As a flood and the API's client tell it; anything else is not the server's own failure.
_ITS_OWN = "answered 5"


class OwnReason:
    """What the API server logs from now on.

    A 500 says "Internal Server Error" and no more; and what had been logged before is no reason.
    """

    def __init__(self, lab: Lab, secrets: tuple[str, ...]) -> None:
        self._secrets = secrets
        logs = [path for name, path in lab.logs().items() if "api-server" in name]
        self._sizes = {path: path.stat().st_size if path.exists() else 0 for path in logs}

    @contextmanager
    def told(self) -> Iterator[None]:
        """Add to a UserError about a 5xx, which leaves the block, the exception that was logged."""
        try:
            yield
        except UserError as error:
            words = self._words()
            if not words or _ITS_OWN not in error.message:
                raise
            said = f"{error.message} Its log says: {words}"
            raise UserError(said, error.hint) from error

    def _words(self) -> str:
        found = (last_exception(path, size) for path, size in self._sizes.items())
        return redact(next(filter(None, found), ""), self._secrets)
