"""Asks failed tests again, alone: a busy machine is told from a fault, and nothing is kept quiet.

    python -m tests.again STATUS     after a pytest that ended with this status, in CI

Many tests start real daemons, four at a time; on a machine of which others take their part, one of
thousands may wait in vain. So where a run had failures, and few of them, each of these tests must
pass twice with the machine to itself. Which they were is said. Otherwise the status stays.
"""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

FEW = 8
TIMES = 2
FAILED = Path(".pytest_cache/v/cache/lastfailed")


def failed(kept: Path = FAILED) -> list[str]:
    """Return which tests the last run says have failed, without xdist's groups."""
    if not kept.exists():
        return []
    return sorted({re.sub(r"@[\w.-]+$", "", name) for name in json.loads(kept.read_text())})


def status_of(status: int) -> int:
    """Return the status of the whole: 0 where all that failed passes when it is asked again."""
    again = failed()
    if status != pytest.ExitCode.TESTS_FAILED or not 0 < len(again) <= FEW:
        return status
    print(
        f"{len(again)} of the tests failed beside others, and must now pass {TIMES} times alone:",
        flush=True,
    )
    # A pytest for each time: with --count, a test's parameters have other names.
    alone = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-n", "0", *again]
    for _ in range(TIMES):
        if outcome := subprocess.run(alone, check=False).returncode:
            return outcome
    print("UNSTABLE, each passed alone and should not need to:", *again, sep="\n    ")
    return 0


if __name__ == "__main__":
    given = int(sys.argv[1])
    sys.exit(status_of(given) if os.environ.get("CI") else given)
