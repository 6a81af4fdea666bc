"""Warm labs shared by the processes of one test session, leased one test at a time.

A machine bears few labs at once (by default one for every two cores), pytest-xdist starts as
many workers as it is told; so a slot is a file lock, and whoever holds it may use, change or
replace the lab in it. A lab belongs to the session, not to the worker that booted it.
"""

import json
import logging
import os
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import psutil
import requests
from filelock import FileLock, Timeout

from common.errors import UserError
from lab.kind.lease import exclusive as lease_alone
from lab.kind.lease import shared as lease_shared
from lab.life import AnyLab, open_lab, start
from lab.request import read_spec
from lab.spec import LabSpec
from lab.supervised import take_down

log = logging.getLogger(__name__)

# Who would have to boot another lab lets those go first who can use the warm one.
_PATIENCE = 1.0


def default_size() -> int:
    """Return how many labs this machine bears at once: one for every two cores, at least one."""
    return max(1, (os.cpu_count() or 1) // 2)


@dataclass(frozen=True)
class Owner:
    """The process that a session's labs die with."""

    pid: int
    born: float

    @staticmethod
    def me() -> "Owner":
        """Return the calling process."""
        process = psutil.Process()
        return Owner(process.pid, process.create_time())


class Pool:
    """The slots of one session, in `root`; every process of the session makes its own Pool."""

    def __init__(self, root: Path, size: int, owner: Owner) -> None:
        self.root = root
        self.size = size
        self.owner = owner
        root.mkdir(parents=True, exist_ok=True)

    @contextmanager
    def lease(
        self, spec: LabSpec, timeout: float = 3600.0, *, alone: bool = False
    ) -> Iterator[AnyLab]:
        """Hold a slot with a clean, healthy lab of `spec` in it; boots one where it must.

        `alone`: nobody else has a lab on the same cluster meanwhile, in whatever session.
        """
        slot, lock = self._take(spec, timeout)
        try:
            with _cluster_lease(spec, timeout, alone=alone):
                yield self._furnish(slot, spec)
        finally:
            lock.release()

    def _take(self, spec: LabSpec, timeout: float) -> tuple[int, FileLock]:
        begun = time.monotonic()
        while True:
            waited = time.monotonic() - begun
            for slot in range(self.size):
                warm = self._occupant(slot)
                fits = warm is None or read_spec(warm) == spec
                if not fits and waited < _PATIENCE:
                    continue
                lock = FileLock(self.root / f"slot-{slot}.lock")
                try:
                    lock.acquire(timeout=0)
                except Timeout:
                    continue
                return slot, lock
            if waited > timeout:
                raise UserError(f"No lab became free in {timeout:.0f} s.", "Raise --labs.")
            time.sleep(0.1)

    def _occupant(self, slot: int) -> Path | None:
        try:
            path = Path(json.loads((self.root / f"slot-{slot}.json").read_text()))
        except (FileNotFoundError, json.JSONDecodeError):
            return None
        return path if (path / "spec.json").exists() else None

    def _furnish(self, slot: int, spec: LabSpec) -> AnyLab:
        warm = self._occupant(slot)
        if warm is not None:
            try:
                if read_spec(warm) == spec:
                    lab = open_lab(warm)
                    lab.clean()
                    return lab
            except UserError as error:
                log.info("Booting another lab: %s", error)
            take_down(warm)
        lab = start(spec, owner=(self.owner.pid, self.owner.born))
        (self.root / f"slot-{slot}.json").write_text(json.dumps(str(lab.directory)))
        return lab

    def release_to_user(self, lab: AnyLab) -> None:
        """Let a leased lab outlive the session, to be looked around in."""
        lab.detach()
        for slot in range(self.size):
            if self._occupant(slot) == lab.directory:
                (self.root / f"slot-{slot}.json").unlink()

    def close(self) -> None:
        """Take down what is left in the slots."""
        for slot in range(self.size):
            if warm := self._occupant(slot):
                _leave_clean(warm)
                take_down(warm)


def _leave_clean(directory: Path) -> None:
    """End what tests began in a deployment that is not ours; it outlives the lab."""
    try:
        if read_spec(directory).kind == "cluster":
            open_lab(directory).clean()
    except (UserError, requests.RequestException) as error:
        log.warning("Runs of this session may go on: %s", error)


def _cluster_lease(spec: LabSpec, timeout: float, *, alone: bool) -> AbstractContextManager[None]:
    if spec.deployment is None:
        return nullcontext()
    lease = lease_alone if alone else lease_shared
    return lease(spec.deployment.cluster, timeout)
