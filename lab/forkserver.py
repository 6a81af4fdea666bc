"""A process with Airflow imported that starts others, signals them, and ends them with itself.

The kubelet has one for its containers, an embedded lab has some for Airflow's daemons; each of
these is called a container here. Run by path, with whatever Python the containers need (Airflow's,
3.9 or newer), so it imports the standard library only, and the modules named by --preload. It talks
to whoever started it over one socket, a JSON object a line:

    -> {"id", "argv", "env", "cwd", "log", "fork"}    start a container
    -> {"id", "signal"}                               signal its process group
    <- {"ready", "modules", "skipped", "read"}        once, after preloading
    <- {"id", "pid"} or {"id", "error"}               started, or could not
    <- {"id", "exit", "cpu"}                          ended; CPU seconds with all that it waited for

"env" is what a container's environment has beside this process' own, or without it (null). "exit"
is negative for a signal. With "append" its log goes on where an earlier one ended. "read" names the
environment variables that the imports looked at, by name: a fork cannot obey another value of one.

A container is a child that leads its own session. With "fork" it stays a copy of this process, in
which Airflow is imported already, and runs `python -m MODULE ARGS` by runpy: the faithful cold
start costs seconds of CPU, all of them spent on imports. What a fork has that a cold start has not:
the hash seed of this process, so that sets of strings have one order in all of them; the modules
of the others; memory that is shared until it is written to. Random numbers it has its own, for
Python seeds them again after a fork.

What a container runtime promises, this keeps: when a container's first process ends, whatever it
left behind is killed: orphans are adopted by it while it lives, as by PID 1, and by this process
after (prctl(2), PR_SET_CHILD_SUBREAPER). When the socket closes because its owner is gone,
everything is killed; when this process is killed, the kernel kills the containers
(PR_SET_PDEATHSIG).
"""

from __future__ import annotations

import argparse
import atexit
import contextlib
import ctypes
import gc
import importlib
import json
import os
import runpy
import select
import shutil
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, NoReturn

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_LOST = 137
_HANDLED = (signal.SIGCHLD, signal.SIGTERM)


def command_line(python: Path | str, descriptor: int, modules: Iterable[str]) -> list[str]:
    """Return how a fork server is started: with which Python, an inherited socket, and imports."""
    return [
        *(str(python), __file__),
        *("--socket", str(descriptor), "--preload", ",".join(modules)),
    ]


def main() -> None:
    """Preload, announce it, and serve until the owner's end of the socket closes."""
    parser = argparse.ArgumentParser(description="Start containers for a lab.")
    parser.add_argument("--socket", type=int, required=True, help="inherited descriptor")
    parser.add_argument("--preload", default="", help="modules, comma separated")
    options = parser.parse_args()
    die_with_parent(signal.SIGTERM)
    sys.path[0] = str(Path.cwd())  # what `python -m` puts there, instead of this script's directory
    with Watched() as watched:
        skipped = preload([name for name in options.preload.split(",") if name])
    server = Server(socket.socket(fileno=options.socket))
    hello = {"ready": True, "modules": len(sys.modules), "skipped": skipped}
    server.send({**hello, "read": sorted(watched.names)})
    server.serve()


class Watched:
    """Learns, while it is entered, which environment variables are read by name.

    Who copies the whole environment, as fsspec does, does not count: that is for a child, or to
    look for names of a prefix.
    """

    def __init__(self) -> None:
        self.names: set[str] = set()
        self._plain = type(os.environ)

    def __enter__(self) -> Watched:
        """Watch os.environ itself, which others have imported by name: by its class."""
        names = self.names
        copied: list[str] = []

        class _Reading(self._plain):  # type: ignore[name-defined,misc]
            def __getitem__(self, name: str) -> str:
                if copied and copied[0] == name:
                    del copied[0]
                else:
                    copied.clear()
                    names.add(name)
                return super().__getitem__(name)  # type: ignore[no-any-return]

            def __iter__(self) -> Iterator[str]:
                copied[:] = super().__iter__()
                return iter(tuple(copied))

        os.environ.__class__ = _Reading
        return self

    def __exit__(self, *_: object) -> None:
        os.environ.__class__ = self._plain


def preload(modules: list[str]) -> list[str]:
    """Import what the containers will need, and return what this version does not have.

    Ends the process when an import left a thread running: a fork copies only the thread that
    forks, and whatever locks the others hold stay locked in the copy for ever.
    """
    gc.disable()
    skipped = []
    for name in modules:
        try:
            importlib.import_module(name)
        except ModuleNotFoundError as missing:
            if not f"{name}.".startswith(f"{missing.name}."):
                raise
            skipped.append(name)
    threads = len(list(Path("/proc/self/task").iterdir()))
    if threads > 1:
        print(
            f"preloading left {threads - 1} threads running: forking is not safe", file=sys.stderr
        )
        os._exit(1)
    gc.collect()
    gc.freeze()
    return skipped


class Server:
    """One loop, one thread: commands from the socket, ends of children from SIGCHLD."""

    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._containers: dict[int, str] = {}
        self._pids: dict[str, int] = {}
        self._pid = os.getpid()
        self._wake, self._woken = socket.socketpair()
        self._wake.setblocking(False)
        _prctl(_PR_SET_CHILD_SUBREAPER, 1)

    def send(self, message: dict[str, Any]) -> None:
        """Write one line to the owner; it being gone is noticed by `serve`."""
        try:
            self._control.sendall(json.dumps(message).encode() + b"\n")
        except (BrokenPipeError, ConnectionResetError):
            return

    def serve(self) -> None:
        """Obey until the socket closes, then leave nothing running.

        SIGTERM is ignored: whoever ends the lab sends it to all processes, and the kubelet must
        not see its containers vanish before it is gone itself.
        """
        signal.set_wakeup_fd(self._wake.fileno(), warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        poll = select.poll()
        poll.register(self._control, select.POLLIN)
        poll.register(self._woken, select.POLLIN)
        buffer = b""
        try:
            while True:
                ready = {descriptor for descriptor, _ in poll.poll()}
                if self._woken.fileno() in ready:
                    self._woken.recv(4096)
                    self._reap()
                if self._control.fileno() in ready:
                    received = self._control.recv(1 << 20)
                    if not received:
                        return
                    *lines, buffer = (buffer + received).split(b"\n")
                    for line in lines:
                        self._obey(json.loads(line))
        finally:
            self._kill_everything()

    def _obey(self, command: dict[str, Any]) -> None:
        if "signal" not in command:
            self._start(command)
        elif pid := self._pids.get(command["id"]):
            try:
                os.killpg(pid, command["signal"])
            except ProcessLookupError:  # it does not lead its group yet
                os.kill(pid, command["signal"])

    def _start(self, command: dict[str, Any]) -> None:
        search = command["env"].get("PATH", os.environ.get("PATH", os.defpath))
        if not command["fork"] and shutil.which(command["argv"][0], path=search) is None:
            error = f'exec: "{command["argv"][0]}": executable file not found'
            self.send({"id": command["id"], "error": error})
            return
        signal.pthread_sigmask(signal.SIG_BLOCK, _HANDLED)
        pid = os.fork()
        if pid == 0:
            self._become(command)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _HANDLED)
        self._containers[pid] = command["id"]
        self._pids[command["id"]] = pid
        self.send({"id": command["id"], "pid": pid})

    def _become(self, command: dict[str, Any]) -> NoReturn:
        """Turn this fresh copy of the server into the container, and never return."""
        status = 1
        try:
            _isolate(self._pid)
            signal.set_wakeup_fd(-1)
            for number in _HANDLED:
                signal.signal(number, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _HANDLED)
            for end in (self._control, self._wake, self._woken):
                end.close()
            _redirect(command["log"], append=command.get("append", False))
            os.chdir(command["cwd"])
            if command["fork"]:
                _show_as(command["argv"])
            for name, value in command["env"].items():
                if value is None:
                    os.environ.pop(name, None)
                else:
                    os.environ[name] = value
            if command["fork"]:
                run_module(command["argv"][2], command["argv"][3:])
                status = 0
            else:
                signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # Python ignores it; exec inherits
                os.execvp(command["argv"][0], command["argv"])
        except SystemExit as ended:
            status = _exit_code(ended.code)
        except BaseException as error:  # noqa: BLE001  (nothing may reach the server's own loop)
            trace = _visible(error.__traceback__)
            sys.excepthook(type(error), error.with_traceback(trace), trace)
        finally:
            _leave(status)

    def _reap(self) -> None:
        """Report the containers that ended, and kill what they left behind."""
        while True:
            try:
                found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            except ChildProcessError:
                return
            if found is None:
                return
            pid = found.si_pid
            if pid in self._containers:
                _kill(os.killpg, pid)
            _, status, usage = os.wait4(pid, 0)
            self._sweep()
            container = self._containers.pop(pid, None)
            if container is not None:
                del self._pids[container]
                code = os.waitstatus_to_exitcode(status)
                cpu = round(usage.ru_utime + usage.ru_stime, 3)
                self.send({"id": container, "exit": code, "cpu": cpu})

    def _sweep(self) -> None:
        """Kill the orphans: children of ours that lead no container lost theirs."""
        for pid in _children(self._pid):
            if pid not in self._containers:
                _kill(os.kill, pid)

    def _kill_everything(self) -> None:
        """Kill level by level: whoever is orphaned by a kill becomes a child, and is next."""
        for pid in self._containers:
            _kill(os.killpg, pid)
        while children := _children(self._pid):
            for pid in children:
                _kill(os.kill, pid)
            for pid in children:
                os.waitpid(pid, 0)


def run_module(module: str, arguments: list[str]) -> None:
    """Run a module as `python -m MODULE ARGUMENTS` does."""
    gc.enable()
    sys.argv = ["-m", *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


def _leave(status: int) -> NoReturn:
    """End as the interpreter does, but for freeing its modules one by one.

    That costs CPU for nothing: the operating system frees them all.
    """
    try:
        threading._shutdown()  # type: ignore[attr-defined]
        atexit._run_exitfuncs()
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
    finally:
        os._exit(status)


def _visible(trace: TracebackType | None) -> TracebackType | None:
    """Return a traceback without the frames of this file, which the container has not."""
    while trace is not None and trace.tb_frame.f_code.co_filename == __file__:
        trace = trace.tb_next
    return trace


def _exit_code(code: object) -> int:
    if code is None or isinstance(code, int):
        return (code or 0) & 0xFF
    print(code, file=sys.stderr)
    return 1


def _isolate(parent: int) -> None:
    """Make this process a container's first: its own session, adopter of orphans, mortal."""
    die_with_parent(signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(_LOST)
    os.setsid()
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def _show_as(argv: list[str]) -> None:
    """Let `ps` and `top` show what this fork runs, where Airflow's setproctitle is at hand.

    It looks for its place in memory when it is first called, and finds none once the environment
    has changed.
    """
    if module := sys.modules.get("setproctitle"):
        module.setproctitle(" ".join(argv))


def _redirect(log: str, *, append: bool) -> None:
    fresh = 0 if append else os.O_TRUNC
    sink = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | fresh, 0o644)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for source, standard in ((nothing, 0), (sink, 1), (sink, 2)):
        os.dup2(source, standard)
    os.close(nothing)
    os.close(sink)


def _children(pid: int) -> list[int]:
    listing = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [int(child) for child in listing.split()]


def _kill(send: Callable[[int, int], None], pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        send(pid, signal.SIGKILL)


def die_with_parent(number: int) -> None:
    """Have this process get a signal when the thread that started it is gone."""
    _prctl(_PR_SET_PDEATHSIG, number)


def _prctl(option: int, value: int) -> None:
    ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0)


if __name__ == "__main__":
    main()
