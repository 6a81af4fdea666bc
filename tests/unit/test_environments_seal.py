"""An environment in which something was changed is found, told by its file, and made again."""

import importlib.util
import logging
import os
import py_compile
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from common.errors import UserError
from lab.environments import seal, store

SITE = Path("lib/python3.11/site-packages")
MODULE = SITE / "airflow/models/dagrun.py"
OTHER = SITE / "sqlalchemy/orm.py"


def build(folder: Path) -> None:
    """Write a small environment with bytecode."""
    for name in (MODULE, OTHER):
        path = folder / name
        path.parent.mkdir(parents=True)
        path.write_text("LIMIT = 16\n")
        py_compile.compile(str(path))
    (folder / "pyvenv.cfg").write_text("include-system-site-packages = false\n")
    (folder / "lib64").symlink_to("lib")


@pytest.fixture
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a finished environment of an own cache, in which nothing was changed."""
    monkeypatch.setenv("HA_CHAOS_CACHE", str(tmp_path / "cache"))
    folder = store.made("3.0.6-abc", build)
    assert seal.difference(folder) == ""
    return folder


def imported(folder: Path) -> str:
    """Import the module in a process of its own, and return what it says."""
    code = "from airflow.models import dagrun; print(dagrun.LIMIT)"
    env = {"PYTHONPATH": str(folder / SITE)}
    argv = [sys.executable, "-c", code]
    return subprocess.run(argv, env=env, capture_output=True, text=True, check=True).stdout.strip()


def bytecode(source: Path) -> Path:
    return Path(py_compile.compile(str(source), doraise=True) or "")


def edit_unseen(path: Path) -> None:
    """Edit a file so that its size and its time of change are as before."""
    before = path.stat()
    path.write_text("LIMIT = 99\n")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def add(name: Path, text: str = "import os\n") -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)

    return change


def relink(folder: Path) -> None:
    (folder / "lib64").unlink()
    (folder / "lib64").symlink_to("/elsewhere")


CHANGES: dict[str, tuple[Callable[[Path], None], Path]] = {
    "a line typed in": (add(MODULE, "LIMIT = 16\n#\n"), MODULE),
    "an edit of the same size and time": (lambda f: edit_unseen(f / MODULE), MODULE),
    "the same in a package not Airflow's": (lambda f: edit_unseen(f / OTHER), OTHER),
    "a file removed": (lambda f: (f / OTHER).unlink(), OTHER),
    "a module added": (add(SITE / "airflow/models/patch.py"), SITE / "airflow/models/patch.py"),
    "a .pth added": (add(SITE / "patch.pth"), SITE / "patch.pth"),
    "a sitecustomize added": (add(SITE / "sitecustomize.py"), SITE / "sitecustomize.py"),
    "an extension added": (add(SITE / "airflow/x.so", ""), SITE / "airflow/x.so"),
    "a module of bytecode alone": (add(SITE / "airflow/y.pyc", ""), SITE / "airflow/y.pyc"),
    "a distribution added": (
        add(SITE / "x-1.dist-info/entry_points.txt"),
        SITE / "x-1.dist-info/entry_points.txt",
    ),
    "the system's packages let in": (
        add(Path("pyvenv.cfg"), "include-system-site-packages = true \n"),
        Path("pyvenv.cfg"),
    ),
    "a link led elsewhere": (relink, Path("lib64")),
    "the seal gone": (lambda f: (f / seal.SEAL).unlink(), Path(seal.SEAL)),
}


@pytest.mark.parametrize("name", CHANGES)
def test_what_was_changed_is_named_and_the_environment_made_again(
    environment: Path, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    change, where = CHANGES[name]
    time.sleep(0.02)  # more than the clock of the file system's own times
    change(environment)
    assert seal.difference(environment) == str(where)
    with caplog.at_level(logging.INFO):
        assert store.made("3.0.6-abc", build) == environment
    told = [record.message for record in caplog.records]
    assert told == [f"Making 3.0.6-abc again: {where} is not as it was installed."]
    assert seal.difference(environment) == ""
    assert imported(environment) == "16"
    assert not list(store.environments_dir().glob(".build-*"))


def test_edited_bytecode_beside_its_source_does_not_run(environment: Path) -> None:
    """As when a fix is typed in, run, and taken out again with the file's old time."""
    source = environment / MODULE
    original = source.read_text()
    edit_unseen(source)
    edited = bytecode(source).read_bytes()
    before = source.stat()
    source.write_text(original)
    os.utime(source, ns=(before.st_atime_ns, before.st_mtime_ns))
    next((source.parent / "__pycache__").glob("dagrun.*.pyc")).write_bytes(edited)
    assert imported(environment) == "99"

    assert seal.difference(environment) == ""
    assert imported(environment) == "16"
    assert store.made("3.0.6-abc", build) == environment


def test_bytecode_that_python_writes_as_it_runs_is_no_difference(environment: Path) -> None:
    shutil.rmtree((environment / MODULE).parent / "__pycache__")
    assert imported(environment) == "16"
    assert list((environment / MODULE).parent.glob("__pycache__/*.pyc"))
    assert seal.difference(environment) == ""


def test_bytecode_that_is_just_being_written_is_no_difference(environment: Path) -> None:
    source = environment / MODULE
    cached = Path(importlib.util.cache_from_source(str(source)))
    half = cached.with_name(f"{cached.name}.140234")
    half.write_text("half")
    assert seal.difference(environment) == ""
    assert not half.exists()
    half.with_name("other.cpython-311.pyc.140234").write_text("of no source")
    assert seal.difference(environment).endswith("other.cpython-311.pyc.140234")


def test_what_vanishes_while_it_is_looked_at_is_looked_at_again(
    environment: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Several processes look at once, and each removes the bytecode that is not as it was made."""
    cached = Path(importlib.util.cache_from_source(str(environment / OTHER)))
    cached.write_bytes(cached.read_bytes())
    look = seal._digest

    def beaten(path: Path) -> str:
        if path == cached:
            path.unlink()
        return look(path)

    monkeypatch.setattr(seal, "_digest", beaten)
    assert seal.difference(environment) == ""


def test_a_cache_that_was_unpacked_elsewhere_is_believed(environment: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(environment, tmp_path / "copy", symlinks=True)
    assert seal.difference(copy) == ""


def test_what_cannot_be_made_again_is_not_believed_either(environment: Path) -> None:
    def fail(_: Path) -> None:
        raise UserError("The index does not answer.")

    add(SITE / "patch.pth")(environment)
    with pytest.raises(UserError, match="does not answer"):
        store.made("3.0.6-abc", fail)
    assert seal.difference(environment) == str(SITE / "patch.pth")


def test_a_warm_look_at_many_files_reads_none_of_them(tmp_path: Path) -> None:
    for number in range(5_000):
        folder = tmp_path / f"package{number % 100}"
        folder.mkdir(exist_ok=True)
        (folder / f"m{number}.py").write_bytes(bytes(5_000))
    begun = time.monotonic()
    seal.seal(tmp_path)
    sealed = time.monotonic()
    assert seal.difference(tmp_path) == ""
    looked = time.monotonic()
    assert looked - sealed < 0.7 * (sealed - begun)
