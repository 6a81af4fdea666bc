"""The one clock of a history: seconds since the recording began, by the database's clock."""

import time

import psycopg

_SAMPLES = 5


class DatabaseClock:
    """Tells the database's time without asking it: the local monotonic clock and an offset.

    The local wall clock is not used, since it may be stepped and may be another machine's. The
    offset's error is at most half of the quickest round trip that was seen when it was measured.
    """

    def __init__(self) -> None:
        self.epoch = 0.0
        self._offset = 0.0

    def measure(self, connection: psycopg.Connection[tuple[object, ...]]) -> None:
        """Measure the offset anew; the first time also begins the epoch."""
        samples = []
        for _ in range(_SAMPLES):
            before = time.monotonic()
            row = connection.execute(
                "SELECT extract(epoch FROM pg_catalog.clock_timestamp())::float8"
            ).fetchone()
            after = time.monotonic()
            assert row is not None
            samples.append((after - before, float(str(row[0])) - (before + after) / 2))
        self._offset = min(samples)[1]
        if not self.epoch:
            self.epoch = round(time.monotonic() + self._offset, 6)

    def now(self) -> float:
        """Return the seconds since the epoch, now."""
        return self.since_epoch(time.monotonic() + self._offset)

    def since_epoch(self, unix: float) -> float:
        """Turn unix seconds of the database into seconds since the epoch, never below 0."""
        return max(0.0, round(unix - self.epoch, 6))
