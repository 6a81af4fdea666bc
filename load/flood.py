"""A flood as the suite sees it: a Locust beside it, which dies with whoever started it."""

import logging
import math
import socket
import subprocess
import sys
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from urllib.parse import urlsplit

from common.environment import bare
from common.errors import UserError
from common.spawn import spawn, wait_exit
from load.plan import Asked
from load.report import FloodReport

DRAIN_SECONDS = 300.0
STOP_SECONDS = 10.0
WORKERS_SECONDS = 60.0
ROOT = Path(__file__).resolve().parent.parent

log = logging.getLogger(__name__)


class Flood(AbstractContextManager["Flood"]):
    """DAG runs as they are `asked` for, triggered and watched until they end.

    Run ids are `run_prefix`-`seed`-n, so a prefix is for one flood of a lab. The flood ends by
    itself when its last run has ended, or `run_time` seconds after its start. `patience` is how
    many seconds the API server may take for a first answer.

    In `directory` it leaves `flood.json` (the report), `flood-runs.ndjson` (a line a run, as it
    happens), `flood_*.csv` (Locust's statistics) and `flood.log`. Start it from a thread that
    outlives it: the kernel ends it with that thread. Raises UserError for what can be no flood.
    """

    def __init__(
        self,
        base_url: str,
        directory: Path,
        asked: Asked,
        *,
        run_time: float | None = None,
        patience: float = 30.0,
    ) -> None:
        _check(asked, base_url)
        self.asked = asked
        self.base_url = base_url.rstrip("/")
        self.report_path = directory / "flood.json"
        self.runs_path = directory / "flood-runs.ndjson"
        self.log_path = directory / "flood.log"
        self.run_time = run_time or asked.runs / asked.rate + DRAIN_SECONDS
        self.patience = patience
        self._port: socket.socket | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._report: FloodReport | None = None

    def __enter__(self) -> "Flood":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    def start(self) -> None:
        """Start Locust and return at once; starting twice is starting once."""
        if self._process is not None:
            return
        self.report_path.parent.mkdir(parents=True, exist_ok=True)
        for stale in (self.report_path, self.runs_path, self.log_path):
            stale.unlink(missing_ok=True)
        directory = self.report_path.parent
        env = {**bare(directory), "PYTHONPATH": str(ROOT)}
        self._process = spawn(self._command(), env=env, cwd=directory, log=self.log_path)
        runs, dags, rate = self.asked.runs, len(self.asked.dag_ids), self.asked.rate
        log.info("Flood: %d runs of %d DAGs at %g a second", runs, dags, rate)

    def _command(self) -> list[str | Path]:
        asked, stem = self.asked, self.report_path.with_suffix("")
        options: dict[str, object] = {
            "locustfile": ROOT / "load" / "locustfile.py",
            "host": self.base_url,
            "users": asked.users + asked.operators,
            "spawn-rate": asked.users + asked.operators,
            "run-time": f"{math.ceil(self.run_time)}s",
            "csv": stem,
            "dags": ",".join(asked.dag_ids),
            "patience": self.patience,
            "report": self.report_path,
        }
        for name in ("runs", "rate", "seed", "run_prefix"):
            options[name.replace("_", "-")] = getattr(asked, name)
        if asked.workers:
            port = self._reserved_port()
            options |= {"processes": asked.workers, "master-bind-host": "127.0.0.1"}
            options |= {"master-bind-port": port, "master-port": port}
        pairs = [f"--{name}={value}" for name, value in options.items()]
        return [sys.executable, "-m", "locust", "--headless", "--only-summary", *pairs]

    def _reserved_port(self) -> int:
        """Return a port for master and workers, who must know it before there is a master.

        Bound as it is here, the kernel gives it to nobody who asks for any port; Locust, who asks
        for this one, may have it (both have SO_REUSEADDR, and only one listens).
        """
        self._port = socket.socket()
        self._port.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._port.bind(("127.0.0.1", 0))
        return int(self._port.getsockname()[1])

    @property
    def _grace(self) -> float:
        """How many seconds Locust may take beside the flood itself, to begin and to end."""
        return 2 * STOP_SECONDS + (WORKERS_SECONDS if self.asked.workers else 0)

    @property
    def running(self) -> bool:
        """Whether the flood goes on."""
        return self._process is not None and self._process.poll() is None

    def wait(self, timeout: float | None = None) -> FloodReport:
        """Let the flood end by itself, or stop it after `timeout` seconds; return its report.

        Raises UserError as `stop` does.
        """
        limit = self.run_time + self._grace if timeout is None else timeout
        if self._process is not None:
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(limit)
        return self.stop()

    def stop(self) -> FloodReport:
        """End the flood if it goes on, and return its report; may be called again.

        Raises UserError when the flood could not take place: the API server let nobody in, failed
        from the start on, or Locust ended without a report.
        """
        if self._report is None:
            early = self.running
            self._end()
            self._report = self._collect(early)
        if self._report.error:
            raise UserError(
                f"The API server at {self.base_url} lets no flood in: {self._report.error}.",
                "See that it runs and has simple_auth_manager_all_admins; see its own log, and "
                f"{self.log_path}.",
            )
        return self._report

    def _collect(self, early: bool) -> FloodReport:
        """Read the report; Locust that was stopped before it began has none, and no load."""
        if self.report_path.exists():
            return FloodReport.load(self.report_path)
        if self._process is None:
            raise UserError("Locust was never started and left no report.")
        if not early:
            code = self._process.returncode
            raise UserError(
                f"Locust ended with {code} and left no report.", f"See {self.log_path}."
            )
        return FloodReport(asked=self.asked).save(self.report_path)

    def _end(self) -> None:
        """End Locust: SIGTERM lets it write its report; what is there 10 s later is killed."""
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            if wait_exit(self._process, STOP_SECONDS) is None:
                self._process.kill()
                self._process.wait()
        if self._port is not None:
            self._port.close()


def _check(asked: Asked, base_url: str) -> None:
    """Refuse what cannot be a flood, before anything runs."""
    url = urlsplit(base_url)
    wrong = {
        "a flood needs at least one DAG": not all(asked.dag_ids) or not asked.dag_ids,
        "DAG ids and prefix may not hold a comma": ","
        in "".join((*asked.dag_ids, asked.run_prefix)),
        f"it needs at least one run, not {asked.runs}": asked.runs < 1,
        f"a rate of {asked.rate:g} runs a second is not valid": not 0 < asked.rate < math.inf,
        f"the number of users cannot be {asked.users}": asked.users < 0,
        f"the number of workers cannot be {asked.workers}": asked.workers < 0,
        "the API server's URL is not http://HOST:PORT": (
            url.scheme not in ("http", "https") or not url.hostname or "@" in url.netloc
        ),
    }
    for complaint, is_so in wrong.items():
        if is_so:
            raise UserError(f"The flood cannot start: {complaint}.", "Ask for another flood.")
