"""The boot of an embedded lab, step by step, each step timed and announced.

Our own parts come first, for they say where everything listens; then the fork servers import what
Airflow's daemons need, while Postgres starts; then the daemons start, all at once.

A lab can boot again in its place, with other settings: the proxy and the fork servers stay, and all
that could remember the lab before is made anew.
"""

import json
import logging
import os
import secrets
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import kubernetes
import psutil

from common.errors import UserError
from common.files import last_words
from common.spawn import Child, end_all, signal_family, spawn, wait_exit
from lab.base import ProcessEnd
from lab.database import carry_freely
from lab.embedded import components
from lab.embedded.components import (
    FORK_SERVER,
    FORKED,
    NAMESPACE,
    Component,
    Endpoints,
    write_passfile,
)
from lab.embedded.envtest import ASSETS_VARIABLE, EnvTest
from lab.embedded.forks import ForkServer
from lab.embedded.postgres import Postgres, free_port, port_is_free, template_for
from lab.kube.client import api_client
from lab.kubeapi.kubeconfig import CLIENTS, write_kubeconfig
from lab.ready import Readiness
from lab.spec import LabSpec
from lab.state import LabState, ProcessState, Progress

log = logging.getLogger(__name__)

# Ends that are remembered; a daemon that cannot live ends every few seconds.
_ENDS = 200

# Seconds that a process which was killed a moment ago may take to be gone.
_LAST_BREATH = 1.0


# Bytes of the 107 of a socket's address: multiprocessing takes /pymp-XXXXXXXX/listener-XXXXXXXX.
_SOCKETS_BELOW = 107 - 32

# Folders of which nothing outlives a boot.
_OF_ONE_BOOT = ("pods", "airflow", "tmp")

_SIGNALS = {
    "pause": signal.SIGSTOP,
    "resume": signal.SIGCONT,
    "kill": signal.SIGKILL,
    "stop-process": signal.SIGTERM,
}


class EmbeddedBoot:
    """Starts the parts of one lab and keeps its ledger: `state.processes`."""

    end_seconds = 30.0

    def __init__(self, directory: Path, spec: LabSpec, state: LabState) -> None:
        self.directory = directory
        self.spec = spec
        self.state = state
        self._progress = Progress(directory, state)
        self.postgres = Postgres(directory / "pg")
        self.children: dict[str, Child] = {}
        self.components: dict[str, Component] = {}
        self.servers: dict[str, ForkServer] = {}
        self.daemons: set[str] = set()
        self.killed: set[str] = set()
        self.stopped: set[str] = set()
        self._at: Endpoints | None = None

    def steps(self) -> Iterator[None]:
        """Boot, yielding often, so that the caller can listen; UserError when a part fails."""
        self._make_folders()
        self._progress.say("database")
        template = template_for(self.spec.airflow)
        yield
        with self._progress.timed("proxy and Kubernetes API"):
            self._at = at = self._start_ours(Postgres(template).password)
        yield
        yield from self._bring_up(template, at)

    def reboot(self, spec: LabSpec) -> Iterator[None]:
        """Boot the lab of another spec in this one's place; UserError where there is no place."""
        if self._at is None or ASSETS_VARIABLE in os.environ:
            raise UserError("this lab cannot boot again in its place")
        self.state.phase, self.state.boot = "starting", {}
        self._progress.say("end of the lab before")
        return self._steps_again(spec, self._at)

    def _steps_again(self, spec: LabSpec, at: Endpoints) -> Iterator[None]:
        self._clear_place(at.control)
        self.spec = spec
        yield
        with self._progress.timed("proxy and Kubernetes API"):
            self._at = at = replace(at, kubernetes=self._start_kubernetes())
            self.state.endpoints = dict(vars(at))
        yield from self._bring_up(template_for(spec.airflow), at)

    def _bring_up(self, template: Path, at: Endpoints) -> Iterator[None]:
        daemons = list(components.airflow_components(self.spec, self.directory, at))
        self._open_fork_servers(daemons, at)
        with self._progress.timed("database"):
            self.postgres.clone_from(template)
            self._start_postgres()
        yield
        with self._progress.timed("Airflow"):
            ledger = self.postgres.dsn(application_name="task")
            self._start(components.kubelet(self.spec, self.directory, at, ledger))
            yield from self._start_daemons(daemons)
            yield from self._until_ready(at)
        self._progress.ready()

    def _make_folders(self) -> None:
        for folder in ("logs", *_OF_ONE_BOOT):
            (self.directory / folder).mkdir(exist_ok=True)

    def _clear_place(self, control: int) -> None:
        """End what the next boot makes anew, and remove what it left."""
        stay = {"postgres", "dbproxy", "workerproxy", *map(_ledger_name, self.servers)}
        gone = [name for name in self.children if name not in stay]
        end_all([self.children[name].pid for name in gone], grace=0.0)
        self.postgres.stop("immediate")
        for name in (*gone, "postgres"):
            log_file = Path(self.state.processes.pop(name).log)
            log_file.unlink(missing_ok=True)
            self.children.pop(name).poll()
        carry_freely(f"http://127.0.0.1:{control}")
        self.daemons.clear()
        self.killed.clear()
        self.stopped.clear()
        self.state.ends = []
        shutil.rmtree(self.postgres.data)
        for folder in _OF_ONE_BOOT:
            shutil.rmtree(self.directory / folder)
        self._make_folders()

    def _open_fork_servers(self, daemons: Sequence[Component], at: Endpoints) -> None:
        """Have a fork server for each set of modules, one that can serve these daemons."""
        for imports in {each.imports for each in daemons if each.imports}:
            served = [each for each in daemons if each.imports == imports]
            server = self.servers.get(imports)
            if server is not None:
                if server.serves(served[0]):
                    continue
                self._close_fork_server(imports)
            # Sessions of the one daemon that it serves, or of none.
            name = served[0].name if len(served) == 1 else FORK_SERVER
            env = components.airflow_env(self.spec, self.directory, at, name)
            path = self._log_of(_ledger_name(imports))
            server = ForkServer.open(replace(served[0], name=name, env=env), FORKED[imports], path)
            self.servers[imports] = server
            self._adopt(_ledger_name(imports), server.process, path)

    def _close_fork_server(self, imports: str) -> None:
        name = _ledger_name(imports)
        self.servers.pop(imports).close()
        end_all([self.children.pop(name).pid], grace=1.0)
        del self.state.processes[name]

    def _start_daemons(self, daemons: Sequence[Component]) -> Iterator[None]:
        """Start each daemon as soon as its fork server has imported all, or cold at once."""
        waiting = list(daemons)
        while waiting:
            for each in [*waiting]:
                server = self.servers.get(each.imports)
                if server is None or not server.busy:
                    waiting.remove(each)
                    self._start(each)
                    self.daemons.add(each.name)
            if waiting:
                self._progress.say("imports of Airflow")
                yield

    def _start_postgres(self) -> None:
        self.postgres.start()
        self._adopt("postgres", self.postgres.process, self.postgres.directory / "postgres.log")

    def _start_ours(self, password: str) -> Endpoints:
        proxy = json.loads(
            self._start_announced(components.proxy(self.postgres.port, self.directory))
        )
        kubernetes = self._start_kubernetes()
        at = Endpoints(
            postgres=self.postgres.port,
            proxy=int(proxy["listen"].rsplit(":", 1)[1]),
            control=int(proxy["control"].rsplit(":", 1)[1]),
            api=_checked(self.spec.port) if self.spec.port else free_port(),
            kubernetes=kubernetes,
            password=password,
            secret=secrets.token_hex(32),
            temporary=self._short("tmp"),
        )
        write_passfile(self.directory / "passfile", at)
        workers = json.loads(self._start_announced(components.workerproxy(self.directory, at)))
        at = replace(at, workers=workers["listen"], requests=workers["control"])
        self.state.endpoints = dict(vars(at))
        return at

    def _short(self, name: str) -> str:
        """Return a path of a folder of the lab's in which sockets can be: their names are short.

        multiprocessing has some below TMPDIR. This process holds the lab's folder open meanwhile.
        """
        path = str(self.directory / name)
        if len(os.fsencode(path)) > _SOCKETS_BELOW:
            path = f"/proc/{os.getpid()}/fd/{os.open(self.directory, os.O_PATH)}/{name}"
        return path

    def _start_kubernetes(self) -> str:
        """Start the Kubernetes API: ours, or the real one of KUBEBUILDER_ASSETS; return its URL."""
        kubeconfig = self.directory / "kubeconfig"
        clients = components.clients(self.spec)
        if ASSETS_VARIABLE not in os.environ:
            line = self._start_announced(components.kubeapi(self.directory))
            server = line.split()[-1]
            write_kubeconfig(kubeconfig, f"{server}{CLIENTS}{{client}}", NAMESPACE, clients=clients)
            return server
        real = EnvTest(self.directory / "kubernetes", clients)
        real.start()
        for name, child in real.processes.items():
            self._adopt(name, child, real.log_of(name))
        shutil.copy2(real.kubeconfig, kubeconfig)
        api = kubernetes.client.CoreV1Api(api_client(kubeconfig))
        api.create_namespace({"metadata": {"name": NAMESPACE}})
        return real.server

    def _start(self, component: Component) -> None:
        path, server = self._log_of(component.name), self.servers.get(component.imports)
        fork = server.start(component, path) if server and server.serves(component) else None
        self.components[component.name] = component
        self._adopt(component.name, fork or self._spawn(component), path)

    def _spawn(self, component: Component, stdout: int | None = None) -> subprocess.Popen[bytes]:
        return spawn(
            component.argv,
            env=component.env,
            cwd=component.cwd,
            log=self._log_of(component.name),
            stdout=stdout,
        )

    def _log_of(self, name: str) -> Path:
        return self.directory / "logs" / f"{name}.log"

    def _start_announced(self, component: Component) -> str:
        """Start one of ours and return the line with which it says where it listens."""
        child = self._spawn(component, stdout=subprocess.PIPE)
        self.components[component.name] = component
        self._adopt(component.name, child, self._log_of(component.name))
        assert child.stdout is not None
        line = child.stdout.readline().decode().strip()
        if not line:
            last = self._last_words(component.name)
            raise UserError(f"{component.name} did not start: {last}")
        return line

    def _adopt(self, name: str, child: Child | None, path: Path) -> None:
        assert child is not None
        self.children[name] = child
        try:
            born = psutil.Process(child.pid).create_time()
        except psutil.NoSuchProcess:  # it has ended already, which `reap` tells
            born = time.time()
        self.state.processes[name] = ProcessState(child.pid, born, str(path))
        self.state.save(self.directory)

    def answer(self, request: dict[str, Any]) -> None:
        """Pause, resume, kill, stop or start a process, or restart the database."""
        operation = request["op"]
        if operation in _SIGNALS:
            self._signal(request["process"], _SIGNALS[operation])
        elif operation == "start":
            self.restart(request["process"])
        elif operation == "restart-database":
            self.restart_database(request["how"])
        else:
            raise UserError(f"there is no operation {operation!r}")

    def _signal(self, name: str, number: signal.Signals) -> None:
        if name not in self.state.processes:
            known = sorted(self.state.processes)
            raise UserError(f"there is no process {name!r}; there are {known}")
        process = self.state.processes[name]
        if process.exit_code is not None:
            raise UserError(f"{name} has ended with exit code {process.exit_code}")
        if number in (signal.SIGKILL, signal.SIGTERM):
            self.killed.add(name)
        if number == signal.SIGTERM:
            self.stopped.add(name)
        signal_family(process.pid, number)

    def restart(self, name: str) -> None:
        """Start an ended process again, with what it was started with before."""
        if name in self.children and wait_exit(self.children[name], _LAST_BREATH) is None:
            raise UserError(f"{name} is running")
        self.killed.discard(name)
        self.state.ends = [
            replace(end, again=time.time()) if end.process == name and not end.again else end
            for end in self.state.ends
        ]
        self._start(self.components[name])

    def restart_database(self, how: str) -> None:
        """Stop PostgreSQL, `fast` or `immediate`, and start it again on the same port."""
        self.postgres.stop(how)
        self._start_postgres()

    def reap(self) -> None:
        """Write down which processes have ended, and start again what every deployment would.

        A daemon of Airflow's that gives up (a scheduler does after three failures of its database
        in a row) comes back; one that was killed or stopped on purpose stays dead until `restart`.
        """
        ended = {
            name: code
            for name, child in self.children.items()
            if (code := child.poll()) is not None and self.state.processes[name].exit_code is None
        }
        for name, code in ended.items():
            self.state.processes[name].exit_code = code
        for name in ended.keys() & self.stopped:
            self.stopped.discard(name)
            self._take_note(self._end_of(name))
        if ended:
            self.state.save(self.directory)
        if self.state.phase == "ready":
            for name in sorted(ended.keys() & self.daemons - self.killed):
                self._bring_back(name)

    def _bring_back(self, name: str) -> None:
        """Start a daemon again, and end what it left running, as a container does."""
        process = self.state.processes[name]
        log.info("%s ended with exit code %s; starting it again", name, process.exit_code)
        self._take_note(replace(self._end_of(name), again=time.time()))
        self._start(self.components[name])

    def _end_of(self, name: str) -> ProcessEnd:
        """End what a daemon that has ended left running; return how it ended."""
        process, at = self.state.processes[name], time.time()
        # Who is ended by a signal does not log why; what its log ends with is another matter.
        words = last_words(Path(process.log)) if (process.exit_code or 0) >= 0 else ""
        end_all([process.pid], grace=0.0)
        return ProcessEnd(name, process.exit_code, at, words)

    def _take_note(self, end: ProcessEnd) -> None:
        self.state.ends = [*self.state.ends, end][-_ENDS:]

    def _until_ready(self, at: Endpoints, timeout: float = 180.0) -> Iterator[None]:
        readiness = Readiness(f"http://127.0.0.1:{at.api}", self.postgres.dsn(), self.spec)
        for missing in readiness.waiting(timeout):
            self.reap()
            for name, process in self.state.processes.items():
                if process.exit_code is not None:
                    last = self._last_words(name)
                    raise UserError(f"{name} ended while the lab booted: {last}")
            self._progress.say(missing)
            yield

    def _last_words(self, name: str) -> str:
        return last_words(Path(self.state.processes[name].log)) or "it wrote nothing"

    def stop(self) -> None:
        """End every process of the lab, Airflow's first, Postgres last."""
        last = {"postgres", *map(_ledger_name, self.servers)}
        end_all([child.pid for name, child in self.children.items() if name not in last], grace=3.0)
        for imports in [*self.servers]:
            self._close_fork_server(imports)
        self.postgres.stop()
        for child in self.children.values():
            child.poll()

    @staticmethod
    def clear(directory: Path, spec: LabSpec) -> None:
        """Do nothing: all that it has are processes, and its folder."""


def _ledger_name(imports: str) -> str:
    """Return what a fork server is called among the lab's processes, by what it imports."""
    return f"fork-server-{imports}"


def _checked(port: int) -> int:
    if not port_is_free(port):
        raise UserError(f"Port {port} is in use.", "Name another with --port, or none for any.")
    return port
