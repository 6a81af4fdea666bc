"""A forked command is told apart from one that Python started by nothing but its time."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests import forked

SHOWS = """
import atexit, os, sys
import packaging
atexit.register(print, "atexit")
print(__name__, sys.argv[1:], sys.path[0], os.getcwd(), sorted(os.environ), sys.stdin.read())
print("an error", file=sys.stderr)
"""


def command(folder: Path, code: str, *arguments: str) -> list[str]:
    (folder / "command.py").write_text(code)
    return [sys.executable, "-m", "command", *arguments]


def test_it_is_what_a_start_would_be(tmp_path: Path) -> None:
    shown = command(tmp_path, SHOWS, "--all", "a b")
    env = {"PATH": os.environ["PATH"], "LC_CTYPE": "C.UTF-8", "ONLY": "this"}
    started = subprocess.run(
        shown,
        cwd=tmp_path,
        env=env,
        capture_output=True,
        text=True,
        check=True,
        stdin=subprocess.DEVNULL,
    )
    done = forked.run(shown, cwd=tmp_path, env=env)
    assert (done.returncode, done.stdout, done.stderr) == (0, started.stdout, "an error\n")


@pytest.mark.parametrize(
    ("code", "end"),
    [
        ("raise SystemExit(3)", 3),
        ("1 / 0", 1),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", -9),
        ("import os, signal; os.kill(os.getpid(), signal.SIGINT)", -2),
        ("import os; os._exit(5)", 5),
    ],
)
def test_its_end_is_its_own(tmp_path: Path, code: str, end: int) -> None:
    assert forked.run(command(tmp_path, code), cwd=tmp_path).returncode == end


def test_it_is_ended_at_its_time(tmp_path: Path) -> None:
    slow = command(tmp_path, "import time; print('begun', flush=True); time.sleep(60)")
    with pytest.raises(subprocess.TimeoutExpired) as caught:
        forked.run(slow, cwd=tmp_path, timeout=1.0)
    assert caught.value.output == "begun\n"
    assert forked.run(command(tmp_path, "print('next')"), cwd=tmp_path).stdout == "next\n"


def test_only_a_module_can_be_forked(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="only a module"):
        forked.run([sys.executable, "-c", "pass"], cwd=tmp_path)
