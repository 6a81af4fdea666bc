"""A cluster is shared by many or had by one; nobody waits for ever, and a lease dies with us."""

import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from common.errors import UserError
from common.paths import CACHE_VARIABLE
from lab.kind.lease import exclusive, shared
from tests.labs import eventually

HOLDER = """
import sys
from pathlib import Path
from lab.kind import lease
with getattr(lease, sys.argv[1])("c"):
    Path(sys.argv[2]).touch()
    sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path))


class Holder:
    """Another process, which takes a lease and keeps it until it is told, or killed."""

    def __init__(self, process: "subprocess.Popen[str]", sign: Path) -> None:
        self.process = process
        self._sign = sign

    def wait(self) -> None:
        assert eventually(self.holds)

    def holds(self) -> bool:
        return self._sign.exists()

    def leave(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait(timeout=40)


@contextmanager
def holder(how: str) -> Iterator[Holder]:
    sign = Path(os.environ[CACHE_VARIABLE]) / uuid.uuid4().hex
    argv = [sys.executable, "-c", HOLDER, how, str(sign)]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, text=True) as process:
        try:
            yield Holder(process, sign)
        finally:
            process.kill()


def taken(how: Callable[..., object]) -> bool:
    """Tell whether a lease cannot be had now."""
    try:
        with how("c", timeout=0.2):  # type: ignore[attr-defined]
            return False
    except UserError:
        return True


def test_many_share_and_nobody_has_it_alone_meanwhile() -> None:
    with holder("shared") as one, holder("shared") as other:
        one.wait()
        other.wait()
        assert not taken(shared)
        assert taken(exclusive)
        one.leave()
        assert taken(exclusive)
        other.leave()
        assert not taken(exclusive)


def test_who_has_it_alone_keeps_everybody_out() -> None:
    with holder("exclusive") as alone:
        alone.wait()
        assert taken(shared)
        assert taken(exclusive)
        alone.leave()
        assert not taken(shared)


def test_who_waits_to_have_it_alone_is_let_in_before_those_who_come_later() -> None:
    with holder("shared") as first:
        first.wait()
        with holder("exclusive") as alone:
            assert eventually(lambda: taken(shared))
            with holder("shared") as later:
                time.sleep(0.5)
                assert not later.holds()
                first.leave()
                alone.wait()
                assert not later.holds()
                alone.leave()
                later.wait()


@pytest.mark.parametrize("how", ["shared", "exclusive"])
def test_a_lease_dies_with_its_process(how: str) -> None:
    with holder(how) as killed:
        killed.wait()
        killed.process.send_signal(signal.SIGKILL)
        killed.process.wait(timeout=40)
        assert not taken(exclusive)


def test_who_gives_up_says_what_it_waited_for() -> None:
    with holder("shared") as other:
        other.wait()
        with pytest.raises(UserError, match="the kind cluster c, to have it alone"):
            exclusive("c", timeout=0.1).__enter__()


def test_clusters_are_leased_apart() -> None:
    with holder("exclusive") as alone:
        alone.wait()
        with exclusive("another", timeout=1):
            pass


@pytest.mark.parametrize("name", ["", "..", "a/b", "Upper"])
def test_a_name_that_kind_refuses_is_refused(name: str) -> None:
    with pytest.raises(UserError, match="is not a valid name for a kind cluster"):
        shared(name).__enter__()
