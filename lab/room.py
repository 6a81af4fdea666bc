"""How many labs a machine bears at once: measured by what its processors do, not by their number.

A lab waits more than it works, until it is flooded. So as long as processors stand idle there is
room for one more; what counts as a processor is what this process may use, quotas of its control
group included (a container's limit on a large machine).
"""

import math
import os
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

_CGROUPS = Path("/sys/fs/cgroup")

# Processors that must be idle before there is another lab: twice what one takes on average in the
# flood that faults are asked with (0.38, 3.3.2, simulated workers).
_WANTED = 0.75

# The share of the processors that must be idle where a test is to take all of them: the flood that
# is about numbers takes 1.4 of two (3.3.2, simulated workers).
_FOR_BUSY = 0.7

# Seconds over which is measured: the processors' shares of a second say nothing of the next.
_WINDOW = 2.0

# Memory that must be free for each lab: the processes of one had 1.2 GB in a flood (the sum of
# their proportional shares, PSS; 3.3.2, simulated workers).
_BYTES = 1_500_000_000


@dataclass(frozen=True)
class Processors:
    """The processors that this process may use: how many, and how busy they are."""

    count: float
    group: Path | None = None
    """The control group whose quota it is; None for whole processors of the machine."""

    @staticmethod
    def ours(groups: Iterable[Path] | None = None) -> "Processors":
        """Return those that this process is allowed, or fewer where a quota says so."""
        allowed = Processors(float(len(os.sched_getaffinity(0))))
        limits = [
            Processors(quota, group)
            for group in (_groups() if groups is None else groups)
            if (quota := _quota(group)) is not None
        ]
        return min([allowed, *limits], key=lambda each: each.count)

    def busy(self) -> float:
        """Return the seconds that they have worked; only differences mean anything.

        Where there is a quota, for its group alone: the rest of the machine is not to be had. In
        version 1 that stands in the controller cpuacct, which is mounted together with cpu or not.
        """
        if self.group is not None and (used := _used_by(self.group)) is not None:
            return used
        allowed = os.sched_getaffinity(0)
        every = psutil.cpu_times(percpu=True)
        return sum(sum(each[:3]) + sum(each[5:8]) for n, each in enumerate(every) if n in allowed)


def most() -> int:
    """Return how many labs may be up at most, whatever the processors do: two for each of these.

    No more than the free memory holds either; one always.
    """
    free = psutil.virtual_memory().available
    return max(1, min(math.floor(2 * Processors.ours().count), free // _BYTES))


def _groups() -> list[Path]:
    """Return the folders of this process's control groups that may limit processors."""
    folders = []
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        root = _CGROUPS / controllers if controllers else _CGROUPS
        inside = root / path.lstrip("/")
        folders += [inside, *(up for up in inside.parents if root in (up, *up.parents))]
    return folders


def _quota(folder: Path) -> float | None:
    """Return the processors that a control group may use, of version 2 or 1; None for no limit."""
    try:
        if (unified := folder / "cpu.max").exists():
            quota, period = unified.read_text().split()
        else:
            quota = (folder / "cpu.cfs_quota_us").read_text()
            period = (folder / "cpu.cfs_period_us").read_text()
        return None if int(quota) <= 0 else int(quota) / int(period)
    except (OSError, ValueError):
        return None


def _used_by(group: Path) -> float | None:
    """Return the CPU seconds of a control group; None where it does not say."""
    with suppress(OSError, ValueError, KeyError):
        values = dict(line.split() for line in (group / "cpu.stat").read_text().splitlines())
        return int(values["usage_usec"]) / 1e6
    with suppress(OSError, ValueError):
        return int((group / "cpuacct.usage").read_text()) / 1e9
    return None


@dataclass
class Room:
    """Tells one waiting process whether there is room for another lab, or for a `busy` test."""

    _processors: Processors = field(default_factory=Processors.ours)
    busy: bool = False
    """Asked for a test that takes most of what the processors have, whose lab is there already."""

    _since: float = -1.0
    _busy: float = 0.0

    def disturb(self) -> None:
        """Forget what was measured: a lab boots, and how much it will take is not seen yet."""
        self._since = -1.0

    def found(self) -> bool:
        """Return whether processors stood idle for a while; asked again and again."""
        now = time.monotonic()
        passed = now - self._since
        measuring = self._since >= 0
        if measuring and passed < _WINDOW:
            return False
        busy = self._processors.busy()
        used = (busy - self._busy) / passed
        self._since, self._busy = now, busy
        wanted = _FOR_BUSY * self._processors.count if self.busy else _WANTED
        return measuring and self._processors.count - used >= wanted
