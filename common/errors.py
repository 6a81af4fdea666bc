"""The one exception that people are meant to read."""

from common.redaction import redact


class UserError(Exception):
    """A failure that its reader can mend: what is wrong, and what to do next.

    Raised for bad input and for an environment that cannot serve; every command prints it as
    one line and exits 2, so it never carries a traceback to the terminal. Nor does it carry a
    secret: what others say is often quoted in it.
    """

    def __init__(self, message: str, hint: str = "") -> None:
        self.message = redact(message)
        self.hint = redact(hint)
        super().__init__(self.message)

    def __str__(self) -> str:
        return f"{self.message} {self.hint}".strip()
