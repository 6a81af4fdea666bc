"""Running helm: bounded, never a shell, and what it says when it refuses."""

import subprocess
from collections.abc import Sequence

from common.errors import UserError

TIMEOUT = 120.0
_LENGTH = 300


def run(
    command: Sequence[str], text: str | None = None, timeout: float = TIMEOUT
) -> subprocess.CompletedProcess[str]:
    """Run helm with `text` as its input, `timeout` seconds at most.

    Its exit code is the caller's to judge. UserError where there is no helm, or no end of it.
    """
    try:
        return subprocess.run(
            command, input=text, capture_output=True, text=True, timeout=timeout, check=False
        )
    except OSError as error:
        raise UserError(
            f"helm cannot be run: {command[0]}: {error.strerror}.", "`make tools` fetches it."
        ) from None
    except subprocess.TimeoutExpired:
        raise UserError(f"`helm {command[1]}` took longer than {timeout:g} s.") from None


def complaint(stderr: str) -> str:
    """Return helm's error in one line, without its warnings and its advice to developers."""
    said = stderr.rpartition("Error: ")[2]
    lines = [line.strip() for line in said.splitlines()]
    kept = [line for line in lines if line and not line.startswith(("Use --debug", "WARNING"))]
    line = " ".join(kept) or "helm said nothing"
    return line if len(line) <= _LENGTH else f"{line[:_LENGTH]}..."
