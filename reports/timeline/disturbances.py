"""Faults and gates as bars in time: a beginning, an end, and who was disturbed meanwhile."""

from dataclasses import dataclass, field
from typing import Literal

from common.redaction import redact
from oracle.events import Event, FaultEvent, HoldEvent
from oracle.prose import fault_text

BARS = 2_000
"""Bars that are drawn; a storm of faults beyond that would hide what it disturbs."""

Kind = Literal["fault", "gate", "held"]


@dataclass
class Bar:
    """A time in which a fault was on, a gate was closed, or a process was held at a gate.

    `end` is None while it lasts. `process` is None if it struck nobody in particular.
    """

    kind: Kind
    name: str
    process: str | None
    text: str
    begin: float
    end: float | None = None


@dataclass
class Disturbances:
    """Pairs beginnings with ends as a history goes by; `left_out` counts what found no room."""

    bars: list[Bar] = field(default_factory=list)
    left_out: int = 0
    _open: dict[tuple[str, str, str | None], Bar] = field(default_factory=dict)
    _statements: dict[tuple[str, str], str] = field(default_factory=dict)

    def feed(self, event: Event) -> None:
        """Take an event; all but faults and gates are no matter."""
        if isinstance(event, FaultEvent):
            self._fault(event)
        elif isinstance(event, HoldEvent):
            self._gate(event)

    def _fault(self, event: FaultEvent) -> None:
        if event.op == "begin":
            self._begin("fault", event, event.process, redact(fault_text(event)))
        else:
            self._end("fault", event, event.process)

    def _gate(self, event: HoldEvent) -> None:
        where = (event.name, event.process)
        detail = redact(event.detail)
        if event.op == "hold":
            self._statements[where] = detail
            text = f"gate {event.name} before {event.process}: {detail}"
            self._begin("gate", event, event.process, text)
            return
        if event.op == "held":
            if ("held", event.name, event.process) not in self._open:
                statement = self._statements.get(where, "")
                point = " at " + statement if statement else ""
                text = f"{event.process} is held at {event.name} ({detail}){point}"
                self._begin("held", event, event.process, text)
            return
        self._end("held", event, event.process)
        self._end("gate", event, event.process)

    def _begin(
        self, kind: Kind, event: FaultEvent | HoldEvent, process: str | None, text: str
    ) -> None:
        self._end(kind, event, process)
        if len(self.bars) >= BARS:
            self.left_out += 1
            return
        bar = Bar(kind, redact(event.name), process, text, event.t)
        self._open[kind, event.name, process] = bar
        self.bars.append(bar)

    def _end(self, kind: Kind, event: FaultEvent | HoldEvent, process: str | None) -> None:
        bar = self._open.pop((kind, event.name, process), None)
        if bar is not None:
            bar.end = event.t
