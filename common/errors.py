"""The one exception that people are meant to read."""


class UserError(Exception):
    """A failure that its reader can mend: what is wrong, and what to do next.

    Raised for bad input and for an environment that cannot serve; every command prints it as
    one line and exits 2, so it never carries a traceback to the terminal.
    """

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} {self.hint}".strip()
