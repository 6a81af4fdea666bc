"""Commands in processes of their own, forked where the libraries are imported already.

    test ---- what to run ----> server, which has imported pytest, numpy, psycopg ..
      <------ exit code ----------`-- fork: `python -m MODULE ARGUMENTS` from here on

A command of this project imports for more than a second before it does anything, and the tests run
a hundred of them. Only what others wrote is imported beforehand: a copy of the project has modules
of its own. A forked command has its own arguments, folder, environment and streams, and ends as
any Python does. What it cannot show is that it starts by itself: of each command, some test makes
a start of `subprocess`'s.
"""

import faulthandler
import gc
import importlib
import json
import os
import runpy
import select
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

LIBRARIES = (
    "allure_commons.model2", "docker", "filelock", "jinja2", "kubernetes", "msgspec", "numpy",
    "packaging.requirements", "psutil", "psycopg.types.json", "pygments.lexers.python", "pytest",
    "requests", "rich.table", "tenacity", "urllib3", "wsproto", "yaml",
)  # fmt: skip
"""What the commands import of others'. None is a plugin of pytest's: it imports those itself, to
rewrite their assertions, and warns of one that somebody has imported before.
"""

_TELLS = 10.0  # s that a command has to tell where it is


def run(
    command: Sequence[str],
    *,
    cwd: Path,
    env: Mapping[str, str] | None = None,
    timeout: float = 480,
) -> "subprocess.CompletedProcess[str]":
    """Run `[sys.executable, "-m", MODULE, ...]` as `subprocess.run` does, with captured output."""
    python, option, *arguments = command
    assert (python, option) == (sys.executable, "-m"), f"only a module can be forked: {command}"
    with tempfile.TemporaryDirectory(prefix="forked-") as folder:
        streams = [Path(folder) / name for name in ("stdout", "stderr")]
        asked = {
            "arguments": arguments,
            "cwd": str(cwd),
            "env": dict(os.environ if env is None else env),
            "streams": [os.devnull, *map(str, streams)],
        }
        code = _answer(asked, timeout)
        out, err = (path.read_text() for path in streams)
    if code is None:
        late = subprocess.TimeoutExpired(list(command), timeout, out, err)
        late.add_note(f"{out}\n{err}")
        raise late
    return subprocess.CompletedProcess(list(command), code, out, err)


def _answer(asked: dict[str, Any], timeout: float) -> int | None:
    """Return the exit code of what the server forks; None where it had to be killed."""
    server = _server()
    assert server.stdin is not None
    assert server.stdout is not None
    server.stdin.write(f"{json.dumps(asked)}\n".encode())
    pid = int(server.stdout.readline())
    ended, _, _ = select.select([server.stdout], [], [], timeout)
    if not ended:
        os.kill(pid, signal.SIGABRT)  # it tells where it is
        ended, _, _ = select.select([server.stdout], [], [], _TELLS)
        if not ended:
            os.kill(pid, signal.SIGKILL)
        server.stdout.readline()
        return None
    return int(server.stdout.readline())


@cache
def _server() -> "subprocess.Popen[bytes]":
    """Start this process' server; it ends with its standard input.

    Nothing is buffered: who waits for the second line must not have read it with the first.
    """
    command, pipe = [sys.executable, __file__], subprocess.PIPE
    return subprocess.Popen(command, stdin=pipe, stdout=pipe, bufsize=0)


def _serve() -> None:
    """Fork for each line of the standard input; the fork goes on as the command."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for name in LIBRARIES:
        importlib.import_module(name)
    gc.freeze()  # a fork whose garbage collector looked at all of it would copy all of it
    for line in sys.stdin:
        if (pid := os.fork()) == 0:
            _become(**json.loads(line))
            return
        print(pid, flush=True)
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)


def _become(arguments: list[str], cwd: str, env: dict[str, str], streams: list[str]) -> None:
    """Be `python -m` with these arguments."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number, path in enumerate(streams):
        stream = os.open(path, os.O_RDWR | os.O_CREAT)
        os.dup2(stream, number)
        os.close(stream)
    faulthandler.enable()
    os.environ.clear()
    os.environ.update(env)
    os.chdir(cwd)
    sys.path[0] = cwd
    sys.argv = arguments
    runpy.run_module(arguments[0], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    _serve()
