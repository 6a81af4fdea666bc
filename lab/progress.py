"""What a boot tells of itself while it lasts, and how long each part of it took."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lab.spec import LabState


class Progress:
    """Writes a lab's state as its boot goes on; whoever waits for the lab reads it."""

    def __init__(self, directory: Path, state: LabState) -> None:
        self._directory = directory
        self._state = state

    @contextmanager
    def timed(self, part: str) -> Iterator[None]:
        """Tell that a part begins, and write down the seconds that it took."""
        self.tell(part)
        begun = time.monotonic()
        yield
        self._state.boot[part] = round(time.monotonic() - begun, 2)

    def tell(self, doing: str) -> None:
        """Tell what is being done, or waited for."""
        if self._state.doing != doing:
            self._state.doing = doing
            self._state.save(self._directory)

    def ready(self) -> None:
        """Tell that the lab can be used."""
        self._state.phase, self._state.doing = "ready", ""
        self._state.save(self._directory)
