"""Runs Allure's command line, which is a Node.js program, and says in a line what it met."""

import logging
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from common.environment import inherited
from common.redaction import excerpt

HOME = Path(__file__).resolve().parent.parent
CLI = HOME / "node_modules" / "allure" / "cli.js"
CONFIG = HOME / "node" / "allurerc.mjs"

OLDEST = 20
"""The first release of Node.js that Allure 3.18 runs on."""

TIMEOUT = 900
"""Seconds for one run of Allure."""

SETTINGS_VARIABLE = "HA_CHAOS_ALLURE"
"""Tells the configuration where its settings are."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Ran:
    """How a run of Allure ended; `code` is None for one that was killed for its time."""

    code: int | None
    output: str

    @property
    def last_words(self) -> str:
        """Return the line that says best what went wrong."""
        lines = [line.strip() for line in self.output.splitlines() if line.strip()]
        lines = [line for line in lines if not line.startswith("at ")]
        telling = [line for line in lines if "Error" in line]
        return excerpt((telling or lines or ["it said nothing"])[-1])


def missing(cli: Path = CLI) -> str | None:
    """Say in a line what Allure is missing to run; None where it can."""
    node = shutil.which("node")
    newer = f"Install Node.js {OLDEST} or newer (nodejs.org), then `make report`."
    if node is None:
        return f"No Allure report: there is no Node.js. {newer}"
    version = _version(node)
    if version < OLDEST:
        return f"No Allure report: Node.js {version} is too old. {newer}"
    if not cli.exists():
        return "No Allure report: Allure is not installed. `make report` installs it."
    return None


def _version(node: str) -> int:
    try:
        done = subprocess.run(
            [node, "--version"], env=inherited(), capture_output=True, text=True, timeout=30
        )
        return int(done.stdout.strip().removeprefix("v").partition(".")[0])
    except (OSError, ValueError, subprocess.TimeoutExpired):
        return 0


def run(command: str, arguments: Sequence[str], folder: Path, settings: Path | None = None) -> Ran:
    """Run one of Allure's commands in `folder`, with our configuration if `settings` are given."""
    configured = ["--config", str(CONFIG)] if settings else []
    environment = {**inherited(), "NO_COLOR": "1", SETTINGS_VARIABLE: str(settings or "")}
    try:
        done = subprocess.run(
            ["node", str(CLI), command, *configured, *arguments],
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=TIMEOUT,
        )
    except subprocess.TimeoutExpired:
        return Ran(None, f"it was still at work after {TIMEOUT} s")
    except OSError as error:
        return Ran(None, f"it could not be started: {error.strerror}")
    return Ran(done.returncode, done.stdout)
