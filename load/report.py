"""What a flood came to, beside what was asked of it: no load, no verdict."""

from pathlib import Path

import msgspec

from common.errors import UserError
from common.files import write_whole
from load.plan import Asked

FLOOR = 0.9


class Endpoint(msgspec.Struct, frozen=True, kw_only=True):
    """The requests to one route; times in milliseconds."""

    requests: int
    failures: int
    p50_ms: float
    p95_ms: float


class FloodReport(msgspec.Struct, frozen=True, kw_only=True):
    """The figures of one flood, as `flood.json` keeps them.

    `failures` counts requests that failed; `ended` counts finished runs by state. `absent` names
    the routes that this Airflow does not have, which is no failure. `error` says why the flood
    could not take place, `lost` which of its workers was lost, and its runs with it.
    """

    asked: Asked
    triggered: int = 0
    finished: int = 0
    ended: dict[str, int] = {}
    runs_per_second: float = 0.0
    requests: int = 0
    failures: int = 0
    requests_per_second: float = 0.0
    p50_ms: float = 0.0
    p95_ms: float = 0.0
    seconds: float = 0.0
    errors: dict[str, int] = {}
    endpoints: dict[str, Endpoint] = {}
    absent: tuple[str, ...] = ()
    error: str | None = None
    lost: str | None = None

    def shortfall(self, floor: float = FLOOR, stalled: float = 0.0) -> str | None:
        """Say in which way the load stayed under `floor` times what was asked; None if it did not.

        Runs must have been triggered, at the rate asked for, and have come to an end; and no
        worker may have been lost, for nobody knows what became of its runs. Two runs have no rate
        but a single answer's time. `stalled` is how many seconds a fault may have kept the API
        server from taking runs; these do not count.
        """
        if self.lost:
            return f"{self.lost}, after {self.triggered} of {self.asked.runs} runs"
        if self.triggered < floor * self.asked.runs:
            return f"{self.triggered} of {self.asked.runs} runs were triggered"
        planned = (self.triggered - 1) / self.asked.rate
        if self.triggered > 2 and self._lasted() > planned / floor + stalled:
            return (
                f"runs were triggered at {self.runs_per_second:.2f} a second,"
                f" {self.asked.rate:g} were asked for"
            )
        if self.finished < floor * self.triggered:
            return f"{self.finished} of {self.triggered} runs came to an end"
        return None

    def _lasted(self) -> float:
        """Return the seconds from the first run that was triggered to the last."""
        return (self.triggered - 1) / self.runs_per_second if self.runs_per_second else 0.0

    def save(self, path: Path) -> "FloodReport":
        """Write the report as JSON, whole or not at all; return it."""
        write_whole(path, msgspec.json.format(msgspec.json.encode(self)))
        return self

    @classmethod
    def load(cls, path: Path) -> "FloodReport":
        """Read a stored report; UserError where there is none that can be read."""
        try:
            return msgspec.json.decode(path.read_bytes(), type=cls)
        except (OSError, msgspec.MsgspecError) as error:
            raise UserError(f"{path} is no flood's report: {error}.") from None
