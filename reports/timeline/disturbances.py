"""Faults and holds as bars in time: a beginning, an end, and who was disturbed meanwhile."""

from dataclasses import dataclass, field
from typing import Literal

from common.redaction import redact
from oracle.events import Event, FaultEvent, HoldEvent
from oracle.prose import fault_text

BARS = 2_000
"""Bars that are drawn; a storm of faults beyond that would hide what it disturbs."""

Kind = Literal["fault", "hold", "held"]


@dataclass
class Bar:
    """A time in which a fault was on, a hold was set, or a process was held by it.

    `end` is None while it lasts. `process` is None if it struck nobody in particular.
    """

    kind: Kind
    name: str
    process: str | None
    text: str
    begin: float
    end: float | None = None

    @property
    def lane(self) -> str:
        """The name of the lane on which it is drawn in the whole run."""
        return f"fault {self.name}" if self.kind == "fault" else f"hold {self.name}"


@dataclass
class Disturbances:
    """Pairs beginnings with ends as a history goes by; `left_out` counts what found no room."""

    bars: list[Bar] = field(default_factory=list)
    left_out: int = 0
    _open: dict[tuple[Kind, str, str | None], Bar] = field(default_factory=dict)
    _statements: dict[tuple[str, str], str] = field(default_factory=dict)

    def feed(self, event: Event) -> None:
        """Take an event; all but faults and holds are no matter."""
        if isinstance(event, FaultEvent):
            if event.op == "begin":
                self._begin("fault", event, redact(fault_text(event)))
            else:
                self._end("fault", event)
        elif isinstance(event, HoldEvent):
            self._hold(event)

    def _hold(self, event: HoldEvent) -> None:
        where, detail = (event.name, event.process), redact(event.detail)
        if event.op == "hold":
            self._statements[where] = detail
            self._begin("hold", event, f"hold {event.name} for {event.process}: {detail}")
        elif event.op == "release":
            self._end("held", event)
            self._end("hold", event)
        elif ("held", *where) not in self._open:
            statement = self._statements.get(where, "")
            point = " at " + statement if statement else ""
            text = f"{event.process} is held at {event.name} ({detail}){point}"
            self._begin("held", event, text)

    def _begin(self, kind: Kind, event: FaultEvent | HoldEvent, text: str) -> None:
        self._end(kind, event)
        if len(self.bars) >= BARS:
            self.left_out += 1
            return
        bar = Bar(kind, redact(event.name), event.process, text, event.t)
        self._open[kind, event.name, event.process] = bar
        self.bars.append(bar)

    def _end(self, kind: Kind, event: FaultEvent | HoldEvent) -> None:
        bar = self._open.pop((kind, event.name, event.process), None)
        if bar is not None:
            bar.end = event.t
