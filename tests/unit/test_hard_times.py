"""What the machine lacks is told in one line that says what to do."""

import errno
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from importlib.machinery import ModuleSpec
from pathlib import Path

import pytest

from common.errors import UserError
from common.paths import PROJECT, cache_dir, labs_dir, session_dir, writable
from harness.preflight import room_on_disk
from lab.base import Airflow
from lab.embedded import postgres
from lab.ending import reap
from lab.environments.store import environments_dir
from lab.kube.kubeconfig import default_kubeconfig
from lab.life import start
from lab.pool import Owner
from lab.spec import LabSpec, write_request
from tests.labs import owned_by


def test_a_platform_without_a_postgres_wheel_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def nowhere(_: str) -> ModuleSpec | None:
        return None

    monkeypatch.setattr(postgres, "find_spec", nowhere)
    with pytest.raises(UserError, match="no PostgreSQL here") as caught:
        postgres.binaries()
    assert "make setup" in caught.value.hint


def test_a_full_disk_is_told_before_anything_is_written(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HA_CHAOS_CACHE", str(tmp_path))
    real = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: real._replace(free=10_000_000))
    airflow = Airflow("3.0.6", "3.0.6", Path("/nowhere/python"))
    with pytest.raises(UserError, match="less than 500 MB free") as caught:
        start(LabSpec(airflow), owner=None)
    assert "HA_CHAOS_CACHE" in caught.value.hint
    assert list((tmp_path / "labs").iterdir()) == []


def test_an_interpreter_that_does_not_run_is_told_and_leaves_nothing(
    tmp_path: Path,
) -> None:
    me = Owner.me()
    before = owned_by(me.pid)
    airflow = Airflow("mine", "3.0.6", tmp_path / "no-python", key="none")
    with pytest.raises(UserError, match="no-python"):
        start(LabSpec(airflow), owner=(me.pid, me.born))
    assert owned_by(me.pid) == before


@pytest.mark.skipif(os.geteuid() != 0, reason="a plain user runs PostgreSQL as itself")
def test_a_cache_that_postgres_cannot_reach_is_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(0o700)
    monkeypatch.setenv("HA_CHAOS_CACHE", str(closed))
    with pytest.raises(UserError, match="cannot pass") as caught:
        postgres.binaries()
    assert "HA_CHAOS_CACHE" in caught.value.hint


def test_root_without_its_powers_is_told_which_it_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(postgres, "_missing_capabilities", lambda: ["CAP_CHOWN", "CAP_SETUID"])
    with pytest.raises(UserError, match="this root lacks CAP_CHOWN, CAP_SETUID") as caught:
        postgres.server_user()
    assert caught.value.hint == "Run as a plain user."


TINY = "mount -t tmpfs -o size=64k none /dev/shm && exec "
BOOTS = """
import sys
from pathlib import Path
from lab.embedded.postgres import Postgres
server = Postgres(Path(sys.argv[1]))
server.initialise()
server.start()
server.stop()
print("booted")
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="it takes root to mount")
def test_postgres_boots_where_shared_memory_has_no_room() -> None:
    """As in a container whose /dev/shm is small: its own shared memory is in files then."""
    folder = Path(tempfile.mkdtemp(prefix="ha-chaos-test-"))
    folder.chmod(0o755)
    words = [sys.executable, "-c", BOOTS, str(folder / "pg")]
    command = ["unshare", "-m", "sh", "-c", TINY + shlex.join(words)]
    try:
        done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)
    finally:
        shutil.rmtree(folder)
    if "unshare failed" in done.stderr or "mount:" in done.stderr:
        pytest.skip(done.stderr.strip())
    assert done.stdout == "booted\n", done.stderr


def test_a_server_that_does_not_start_says_what_it_calls_fatal() -> None:
    log = (
        "2026-11-29 12:09:36 UTC [1]  LOG:  starting PostgreSQL\n"
        "2026-11-29 12:09:36 UTC [1]  FATAL:  could not resize shared memory: No space left\n"
        "2026-11-29 12:09:36 UTC [1]  LOG:  database system is shut down\n"
    )
    assert postgres._reason(log).endswith("FATAL:  could not resize shared memory: No space left")
    assert postgres._reason("no such file\n") == "no such file"


def test_a_session_whose_runs_have_no_room_ends_with_one_line() -> None:
    told = pytest.raises(pytest.exit.Exception, match=r"is full\. Free some, or set HA_CHAOS_RUNS")
    with told, room_on_disk():
        raise OSError(errno.ENOSPC, "No space left on device")
    with pytest.raises(PermissionError), room_on_disk():
        raise PermissionError(errno.EACCES, "not yours")


WHO = """
from common.errors import UserError
from lab.embedded.postgres import server_user
try:
    print(server_user())
except UserError as error:
    print(error)
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="it takes root to give up root's powers")
@pytest.mark.parametrize(
    ("without", "lacks"),
    [
        (("setpriv", "--bounding-set=-kill,-setuid"), "this root lacks CAP_KILL, CAP_SETUID."),
        (
            ("setpriv", "--bounding-set=-chown,-dac_override,-setgid"),
            "this root lacks CAP_CHOWN, CAP_DAC_OVERRIDE, CAP_SETGID.",
        ),
        (("unshare", "-U", "-r"), "this user namespace has no `nobody`"),
        (("env",), "User(uid=65534, gid=65534)"),
    ],
    ids=["to-end-it", "to-own-files", "namespace", "neither"],
)
def test_root_who_cannot_become_nobody_is_told_why(without: tuple[str, ...], lacks: str) -> None:
    if shutil.which(without[0]) is None:
        pytest.skip(f"{without[0]} is not there")
    command = [*without, sys.executable, "-c", WHO]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)
    if "unshare failed" in done.stderr:
        pytest.skip(done.stderr.strip())
    assert lacks in done.stdout, done.stderr


def test_a_user_without_a_name_is_told_what_initdb_wants(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 4_000_000_000)
    with pytest.raises(UserError, match="4000000000 has none in /etc/passwd") as caught:
        postgres.server_user()
    assert "lab:x:4000000000:0::/tmp:/bin/sh" in caught.value.hint


def test_a_user_without_a_home_is_told_which_folders_to_name(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("HOME", "XDG_CACHE_HOME", "HA_CHAOS_CACHE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os, "geteuid", lambda: 4_000_000_000)
    monkeypatch.setattr(os, "getuid", lambda: 4_000_000_000)
    with pytest.raises(UserError, match="no home directory") as caught:
        cache_dir()
    assert "HA_CHAOS_CACHE" in caught.value.hint
    assert "HA_CHAOS_RUNS" in caught.value.hint
    assert default_kubeconfig() == "~/.kube/config"


@pytest.mark.parametrize("what", ["home", "cache", "environments"])
def test_a_folder_of_somebody_elses_is_told(
    what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Root may write everywhere, so the system's answer is another's here."""
    monkeypatch.setenv("HA_CHAOS_CACHE", str(tmp_path / "home" / "cache"))
    wrong = {"home": "home", "cache": "home/cache", "environments": "home/cache/environments"}[what]
    theirs = tmp_path / wrong
    real, theirs_is = os.access, {theirs}
    if what == "home":
        theirs.touch()
    else:
        theirs.mkdir(parents=True)
    monkeypatch.setattr(os, "access", lambda path, mode: path not in theirs_is and real(path, mode))
    with pytest.raises(UserError, match="Environments and labs cannot be kept in ") as caught:
        environments_dir()
    assert str(theirs) in caught.value.message
    assert "HA_CHAOS_CACHE" in caught.value.hint


def test_a_cache_that_no_search_path_can_name_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HA_CHAOS_CACHE", str(tmp_path / "a:b"))
    with pytest.raises(UserError, match="no search path can have a folder with a ':' in it"):
        cache_dir()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="it takes root to mount")
def test_a_cache_that_runs_no_program_is_told(tmp_path: Path) -> None:
    """Before an environment is made there, of which Airflow would find none of its libraries."""
    code = "from common.paths import cache_dir\ntry: cache_dir()\nexcept Exception as e: print(e)"
    mounting = f"mount -t tmpfs -o noexec none {tmp_path} && exec "
    command = ["unshare", "-m", "sh", "-c", mounting + shlex.join([sys.executable, "-c", code])]
    env = {**os.environ, "HA_CHAOS_CACHE": str(tmp_path)}
    done = subprocess.run(
        command, cwd=PROJECT, env=env, capture_output=True, text=True, check=False
    )
    if "unshare failed" in done.stderr or "mount:" in done.stderr:
        pytest.skip(done.stderr.strip())
    assert done.stdout.startswith(f"No program can be run from {tmp_path}: "), done.stderr
    assert "Set HA_CHAOS_CACHE" in done.stdout


def test_a_folder_whose_name_this_python_cannot_read_is_told(tmp_path: Path) -> None:
    """As a name with an umlaut is to a Python that is told to read ASCII: as surrogates."""
    name = "ä".encode().decode("ascii", "surrogateescape")
    with pytest.raises(UserError, match="does not read its name as UTF-8") as caught:
        writable(tmp_path / name, "Runs")
    assert "LC_ALL=C.UTF-8" in caught.value.hint
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("mask", [0o000, 0o077])
def test_whatever_the_mask_nobody_writes_into_the_cache_and_postgres_user_passes(
    mask: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HA_CHAOS_CACHE", str(tmp_path / "a" / "cache"))
    before = os.umask(mask)
    try:
        made = environments_dir()
    finally:
        os.umask(before)
    modes = {path.stat().st_mode & 0o777 for path in (made, made.parent, made.parent.parent)}
    assert modes == {0o755 if os.geteuid() == 0 else 0o755 & ~mask}


def test_the_folder_of_a_killed_session_goes_and_that_of_a_live_one_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HA_CHAOS_CACHE", str(tmp_path))
    me = Owner.me()
    mine, dead = session_dir(me.pid, me.born), session_dir(me.pid, me.born - 3600)
    for folder in (mine, dead):
        folder.mkdir(parents=True)
    reap()
    assert mine.exists()
    assert not dead.exists()


def test_a_lab_whose_owner_was_killed_before_it_began_is_removed_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HA_CHAOS_CACHE", str(tmp_path))
    me = Owner.me()
    owners = {"gone": (me.pid, me.born - 5000.0), "beginning": (me.pid, me.born), "kept": None}
    for name, owner in owners.items():
        (labs_dir() / name).mkdir()
        write_request(labs_dir() / name, LabSpec(Airflow("3.0.6", "3.0.6")), owner)
    for name, age in (("empty", 0.0), ("empty for long", 601.0)):
        (labs_dir() / name).mkdir()
        os.utime(labs_dir() / name, (time.time() - age,) * 2)
    assert reap() == 0
    assert sorted(path.name for path in labs_dir().iterdir()) == ["beginning", "empty", "kept"]
