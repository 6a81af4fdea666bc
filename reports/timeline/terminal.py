"""The witness for a terminal: its prose, and a small drawing of who reached for the row when."""

from collections.abc import Iterator

from common.redaction import redact
from oracle import witness
from oracle.events import TaskInstanceEvent
from reports.timeline.choice import chosen
from reports.timeline.scene import Line, Scene, shortened, stage
from reports.timeline.survey import Survey

LINES = 15

_WIDEST = 20


def tell(survey: Survey) -> list[str]:
    """Return the witness in at most LINES lines, and the drawing under it; empty without one."""
    prose = redact(witness.text(survey.judgement)).splitlines()
    story = chosen(survey.judgement)
    drawing = list(_drawing(stage(story))) if story else []
    return [*prose[:LINES], *([""] if drawing else []), *drawing]


def _drawing(scene: Scene) -> Iterator[str]:
    """Draw a column for each actor: `*` acts, `:` is struck or held, arrows reach for the row."""
    state = max((len(_state(line)) for line in scene.lines), default=0)
    widths = [min(len(name), _WIDEST) + 2 for name in scene.columns]
    widths[scene.row] = max(widths[scene.row], state + 6)
    names = [shortened(name, most=_WIDEST).replace("…", "~") for name in scene.columns]
    centred = (name.center(wide) for name, wide in zip(names, widths, strict=True))
    yield (" " * 12 + "".join(centred)).rstrip()
    for line in scene.lines:
        cells = [_cell(scene, line, place).center(wide) for place, wide in enumerate(widths)]
        broke = f"  x {', '.join(line.step.broke)}" if line.step.broke else ""
        yield f"{line.t:9.3f} s {''.join(cells)}{broke}".rstrip()


def _cell(scene: Scene, line: Line, place: int) -> str:
    if place == scene.row:
        reached = isinstance(line.step.event, TaskInstanceEvent)
        left = "->" if reached and line.column < place else "  "
        right = "<-" if reached and line.column > place else "  "
        return f"{left} {(_state(line) if line.changed else '|').center(12)} {right}"
    if place == line.column:
        return "*"
    return ":" if place in line.held else "|"


def _state(line: Line) -> str:
    return line.state if line.try_number is None else f"{line.state} {line.try_number}"
