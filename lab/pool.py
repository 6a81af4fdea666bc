"""Warm labs shared by the processes of one test session, leased one test at a time.

A machine bears few labs at once, pytest-xdist starts as many workers as it is asked for; so a slot
is a file lock, and whoever holds it may use, change or replace the lab in it. A slot is filled for
the first time while the machine has room (`lab.room`), unless somebody said how many there shall
be. A lab belongs to the session, not to the worker that booted it.
"""

import json
import logging
import math
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext, suppress
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
from lab.life import open_lab, reboot, start
from lab.room import Processors, Room, most
from lab.spec import LabSpec, read_spec
from lab.supervised import AILING, SupervisedLab

log = logging.getLogger(__name__)

# Who would have to boot another lab lets those go first who can use the warm one.
_PATIENCE = 1.0

# Seconds between two looks at the slots: many wait, and each look costs a millisecond or more.
_LOOK = 0.5

# Seconds that who keeps the machine busy waits for others to be done; those that are not ours may
# never be.
_QUIET = 90.0


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

    def __init__(self, root: Path, size: int | None, owner: Owner) -> None:
        """Make the pool of a session; it has `size` slots, or as many as there is room for."""
        self.root = root
        self.owner = owner
        self._measured = size is None
        self._boots = FileLock(root / "boot.lock")
        self._turn = FileLock(root / "turn.lock")
        root.mkdir(parents=True, exist_ok=True)
        self.size = size or self._room_at_first()

    def _room_at_first(self) -> int:
        """Return how many slots the session has: what it had room for before it had labs."""
        kept = self.root / "size"
        with suppress(FileNotFoundError):
            return int(kept.read_text())
        write_whole(kept, str(found := most()))
        return found

    @contextmanager
    def lease(
        self,
        spec: LabSpec,
        timeout: float = math.inf,
        *,
        alone: bool = False,
        loads: bool = False,
        busy: bool = False,
        reuse: bool = True,
    ) -> Iterator[SupervisedLab]:
        """Hold a slot with a clean, healthy lab of `spec` in it; boots one where it must.

        `alone`: nobody else has a lab on the same cluster meanwhile, in whatever session.
        `loads`: what is done with it works all the time, as a flood does; of such, one a processor
        has a lab at a time. `busy`: it takes most of what all processors have; so it waits until
        they are idle, and meanwhile nobody else is lent a lab. Neither counts where somebody said
        how many labs there shall be. Without `reuse` the lab boots again for who comes next, for it
        cannot be cleaned of what is done to it.
        """
        busy = busy and self._measured
        with ExitStack() as place, ExitStack() as turn:
            if loads and self._measured:
                place.enter_context(self._place(timeout))
            turn.enter_context(self._turn)
            if not busy:
                turn.close()
            slot, lock = self._take(spec, timeout)
            try:
                with lab_of(spec.kind).lease(spec, timeout, alone=alone):
                    try:
                        lab = self._prepare(slot, spec)
                    finally:
                        self._boots.release(force=True)
                    if not reuse:
                        self._spent(slot).touch()
                    with self._quiet() if busy else nullcontext():
                        yield lab
            finally:
                lock.release()

    @contextmanager
    def _place(self, timeout: float) -> Iterator[None]:
        """Hold a place among those that load the machine: there are as many as processors."""
        places = max(1, math.floor(Processors.ours().count))
        locks = [FileLock(self.root / f"load-{number}.lock") for number in range(places)]
        found = until(lambda: self._first_free(locks), timeout, interval=_LOOK)
        if found is None:
            raise UserError(f"Other floods did not end in {timeout:.0f} s.", "Raise --labs.")
        try:
            yield
        finally:
            found.release()

    def _one_boot(self) -> AbstractContextManager[object]:
        """Let nobody else boot a lab meanwhile, where their number follows from a measurement."""
        return self._boots if self._measured else nullcontext()

    @contextmanager
    def _quiet(self) -> Iterator[None]:
        """Let nobody boot a lab meanwhile, and wait until what is at work has made room."""
        with self._boots:
            until(Room(busy=True).found, _QUIET, interval=0.5)
            yield

    def _take(self, spec: LabSpec, timeout: float) -> tuple[int, FileLock]:
        choosing = Deadline(_PATIENCE)
        room = Room()
        found = until(
            lambda: self._fitting_slot(spec) or (choosing.passed and self._any_slot(room)) or None,
            timeout,
            interval=_LOOK,
        )
        if found is None:
            raise UserError(f"No lab became free in {timeout:.0f} s.", "Raise --labs.")
        return found

    def _fitting_slot(self, spec: LabSpec) -> tuple[int, FileLock] | None:
        """Lock the first free slot with a lab of `spec`; the first of all while there is no lab."""
        labs = self._labs()
        fitting = [slot for slot, warm in labs.items() if read_spec(warm) == spec]
        return self._lock([0] if not labs else fitting)

    def _any_slot(self, room: Room) -> tuple[int, FileLock] | None:
        """Lock a slot with whatever lab, or else an empty one, if there is room for one more."""
        labs = self._labs()
        if found := self._lock(labs):
            return found
        empty = [slot for slot in range(self.size) if slot not in labs]
        if not empty or not self._measured:
            return self._lock(empty)
        # One boot at a time; what the lab before it takes is seen first.
        try:
            self._boots.acquire(timeout=0)
        except Timeout:
            room.disturb()
            return None
        found = self._lock(empty) if room.found() else None
        if found is None:
            self._boots.release()
        return found

    def _lock(self, slots: Iterable[int]) -> tuple[int, FileLock] | None:
        locks = {slot: FileLock(self.root / f"slot-{slot}.lock") for slot in slots}
        lock = self._first_free(locks.values())
        return next(((slot, lock) for slot, each in locks.items() if each is lock), None)

    @staticmethod
    def _first_free(locks: Iterable[FileLock]) -> FileLock | None:
        """Take the first lock that nobody has."""
        for lock in locks:
            with suppress(Timeout):
                lock.acquire(timeout=0)
                return lock
        return None

    def _labs(self) -> dict[int, Path]:
        """Return the labs in the slots, by slot."""
        found = ((slot, self._lab_in(slot)) for slot in range(self.size))
        return {slot: warm for slot, warm in found if warm is not None}

    def _lab_in(self, slot: int) -> Path | None:
        try:
            path = Path(json.loads((self.root / f"slot-{slot}.json").read_text()))
        except (FileNotFoundError, json.JSONDecodeError):
            return None
        return path if (path / "spec.json").exists() else None

    def _prepare(self, slot: int, spec: LabSpec) -> SupervisedLab:
        """Return a clean lab: the one in the slot, that one as another, or a new one."""
        warm = self._lab_in(slot)
        spent = self._spent(slot).exists()
        self._spent(slot).unlink(missing_ok=True)
        if warm is not None:
            for again in (self._reboot,) if spent else (_clean, self._reboot):
                try:
                    if lab := again(warm, spec):
                        return lab
                except AILING as error:
                    log.info("Booting another lab: %s", error)
            take_down(warm)
        with self._one_boot():
            lab = start(spec, owner=(self.owner.pid, self.owner.born))
        write_whole(self.root / f"slot-{slot}.json", json.dumps(str(lab.directory)))
        return lab

    def _spent(self, slot: int) -> Path:
        """Return the file that says that a slot's lab must boot again before it is lent."""
        return self.root / f"slot-{slot}.spent"

    def _reboot(self, directory: Path, spec: LabSpec) -> SupervisedLab:
        with self._one_boot():
            return reboot(directory, spec, owner=(self.owner.pid, self.owner.born))

    def release_to_user(self, lab: SupervisedLab) -> None:
        """Let a leased lab outlive the session, to be looked around in."""
        lab.detach()
        for slot, warm in self._labs().items():
            if warm == lab.directory:
                (self.root / f"slot-{slot}.json").unlink()

    def close(self) -> None:
        """Take down what is left in the slots."""
        for warm in self._labs().values():
            _leave_clean(warm)
            take_down(warm)


def _clean(directory: Path, spec: LabSpec) -> SupervisedLab | None:
    """Clean a lab and return it; None where it is another than is asked for."""
    if read_spec(directory) != spec:
        return None
    lab = open_lab(directory)
    lab.clean()
    return lab


def _leave_clean(directory: Path) -> None:
    """End what tests began in a deployment that is not ours; it outlives the lab."""
    try:
        if read_spec(directory).kind == "cluster":
            open_lab(directory).clean()
    except (UserError, requests.RequestException) as error:
        log.warning("Runs of this session may go on: %s", error)
