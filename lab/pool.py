"""Warm labs shared by the processes of one test session, leased one test at a time.

A machine bears few labs at once (by default one for every two cores), pytest-xdist starts as
many workers as it is asked for; so a slot is a file lock, and whoever holds it may use, change or
replace the lab in it. A lab belongs to the session, not to the worker that booted it.
"""

import json
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
import requests
from filelock import FileLock, Timeout

from common.errors import UserError
from common.files import write_whole
from common.waiting import Deadline, until
from lab.ending import take_down
from lab.kinds import lab_of
from lab.life import open_lab, start
from lab.spec import LabSpec, read_spec
from lab.supervised import SupervisedLab

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
    ) -> Iterator[SupervisedLab]:
        """Hold a slot with a clean, healthy lab of `spec` in it; boots one where it must.

        `alone`: nobody else has a lab on the same cluster meanwhile, in whatever session.
        """
        slot, lock = self._take(spec, timeout)
        try:
            with lab_of(spec.kind).lease(spec, timeout, alone=alone):
                yield self._prepare(slot, spec)
        finally:
            lock.release()

    def _take(self, spec: LabSpec, timeout: float) -> tuple[int, FileLock]:
        choosing = Deadline(_PATIENCE)
        found = until(lambda: self._free_slot(spec, any_lab=choosing.passed), timeout)
        if found is None:
            raise UserError(f"No lab became free in {timeout:.0f} s.", "Raise --labs.")
        return found

    def _free_slot(self, spec: LabSpec, *, any_lab: bool) -> tuple[int, FileLock] | None:
        """Lock the first free slot that is empty or has a lab of `spec`, or whatever is in it."""
        for slot in range(self.size):
            warm = self._lab_in(slot)
            if any_lab or warm is None or read_spec(warm) == spec:
                lock = FileLock(self.root / f"slot-{slot}.lock")
                with suppress(Timeout):
                    lock.acquire(timeout=0)
                    return slot, lock
        return None

    def _lab_in(self, slot: int) -> Path | None:
        try:
            path = Path(json.loads((self.root / f"slot-{slot}.json").read_text()))
        except (FileNotFoundError, json.JSONDecodeError):
            return None
        return path if (path / "spec.json").exists() else None

    def _prepare(self, slot: int, spec: LabSpec) -> SupervisedLab:
        warm = self._lab_in(slot)
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
        write_whole(self.root / f"slot-{slot}.json", json.dumps(str(lab.directory)))
        return lab

    def release_to_user(self, lab: SupervisedLab) -> None:
        """Let a leased lab outlive the session, to be looked around in."""
        lab.detach()
        for slot in range(self.size):
            if self._lab_in(slot) == lab.directory:
                (self.root / f"slot-{slot}.json").unlink()

    def close(self) -> None:
        """Take down what is left in the slots."""
        for slot in range(self.size):
            if warm := self._lab_in(slot):
                _leave_clean(warm)
                take_down(warm)


def _leave_clean(directory: Path) -> None:
    """End what tests began in a deployment that is not ours; it outlives the lab."""
    try:
        if read_spec(directory).kind == "cluster":
            open_lab(directory).clean()
    except (UserError, requests.RequestException) as error:
        log.warning("Runs of this session may go on: %s", error)
