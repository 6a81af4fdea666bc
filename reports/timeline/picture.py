"""The witness as a still picture: columns for who acts, the contended row between them.

It is meant for someone who never read a history: one look shows the one process reach the row
after the other already had. No global figure is used, so that any thread may paint.
"""

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch, Rectangle

from common.redaction import redact
from oracle.events import TaskInstanceEvent
from reports.timeline import palette
from reports.timeline.scene import PlacedDeed, Scene, chosen, shortened, stage
from reports.timeline.survey import Survey

WIDE, LINE, PAD = 2.55, 0.17, 0.13
"""Inches: a column, a line of text, the space around a step."""

MARGIN, TITLE, HEADS, FOOT = 0.85, 0.22, 0.78, 0.2
"""Inches: left of the columns, a line of the title, between it and the first step, a line of the
promise below."""

LEGEND = 2.9
"""Inches that the legend takes, right of the title or, where that is too long, below it."""

BOX, ROW = 0.92, 0.64
"""Parts of a column's width that a step's box, and the row, take."""

LETTERS, HEADING, PER_INCH, BOLD_PER_INCH = 29, 26, 11.5, 8.2
"""Letters: of a step's text beside one another, of a heading, of the promise and of the title in an
inch."""

SOFT, RULE, EDGE = "#4A5563", "#C6CED7", "#7F8A96"


_STEADY: Any = {
    "svg.hashsalt": "airflow-ha-chaos",
    "svg.fonttype": "path",
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "hatch.linewidth": 0.8,
    "text.parse_math": False,
}
"""The same history gives the same bytes, on any machine; matplotlib carries this font itself."""


def paint(found: Survey, path: Path) -> Path | None:
    """Draw the witness as SVG and beside it as PNG; None if no task instance has a violation."""
    story = chosen(found.judgement)
    if story is None:
        return None
    header = found.header
    title = redact(f"Airflow {header.airflow}, {header.lab}: {story.ti}")
    first = min(story.violations, key=lambda violation: violation.t)
    promise = redact(f"{first.invariant}: {first.message}.")
    names = dict.fromkeys(v.invariant for v in story.violations if v.invariant != first.invariant)
    if names:
        promise += f" Also broken: {', '.join(names)}."
    with mpl.rc_context(_STEADY):
        drawn = draw(stage(story), title, promise)
        drawn.savefig(path, metadata={"Date": None, "Title": title, "Description": promise})
        drawn.savefig(path.with_suffix(".png"), dpi=130, metadata={"Software": None})
    return path


def draw(scene: Scene, title: str, promise: str) -> Figure:
    """Paint a scene under its title, with the broken promise below."""
    width = MARGIN + WIDE * len(scene.columns) + 0.1
    lines = textwrap.wrap(promise, int(width * PER_INCH), break_on_hyphens=False)
    head = textwrap.wrap(title, int((width - 0.3) * BOLD_PER_INCH), break_on_hyphens=False)
    top = HEADS + TITLE * (len(head) + _legend_below(scene, head, width))
    texts = [_wrapped(line) for line in scene.lines]
    heights = [len(text) * LINE + 2 * PAD for text in texts]
    bottom = top + sum(heights)
    height = bottom + len(lines) * FOOT + 0.3
    figure = Figure(figsize=(width, height), facecolor="white")
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_xlim(0, width)
    axes.set_ylim(height, 0)
    axes.axis("off")
    canvas = _Canvas(axes, scene, width)
    canvas.headings(head, top, bottom)
    y = top
    for line, text, tall in zip(scene.lines, texts, heights, strict=True):
        canvas.line(line, text, y, tall)
        y += tall
    canvas.promise(lines, bottom)
    return figure


def _has_legend(scene: Scene) -> bool:
    return any(line.held for line in scene.lines)


def _legend_below(scene: Scene, head: Sequence[str], width: float) -> bool:
    """Tell whether the legend has no room beside the title's last line."""
    end = 0.15 + len(head[-1]) / BOLD_PER_INCH if head else 0.0
    return _has_legend(scene) and end > width - LEGEND - 0.2


def _wrapped(line: PlacedDeed) -> list[str]:
    what = line.deed.what.replace(" -> ", "\N{NO-BREAK SPACE}→\N{NO-BREAK SPACE}")
    return [*textwrap.wrap(what, LETTERS), *(f"✖ {name}" for name in line.deed.broke)]


def _middle(column: int) -> float:
    return MARGIN + WIDE * (column + 0.5)


@dataclass(frozen=True)
class _Canvas:
    """Axes in inches, from the top left."""

    axes: Axes
    scene: Scene
    width: float

    def headings(self, head: Sequence[str], top: float, bottom: float) -> None:
        """Write the title, its legend, and over each column who it is."""
        bold: dict[str, Any] = {"fontweight": "bold", "color": palette.DARK_INK}
        for place, words in enumerate(head):
            self.axes.text(0.15, 0.32 + TITLE * place, words, fontsize=12, **bold)
        for column, name in enumerate(self.scene.columns):
            x = _middle(column)
            short = shortened(name, most=HEADING)
            self.axes.text(x, top - 0.2, short, ha="center", fontsize=10.5, **bold)
            if column != self.scene.row:
                self.axes.plot([x, x], [top - 0.1, bottom], color=RULE, lw=1, zorder=0)
        if _has_legend(self.scene):
            y = top - HEADS + 0.1
            self._rectangle(self.width - LEGEND, y - 0.12, 0.24, 0.15, **_HATCHED)
            x = self.width - LEGEND + 0.3
            self.axes.text(x, y, "under a fault, or held", color=SOFT)

    def line(self, line: PlacedDeed, text: Sequence[str], y: float, tall: float) -> None:
        """Paint one step: when, the row after it, and in its actor's column what was done."""
        if line.deed.broke:
            self._rectangle(0, y, self.width, tall, fc=palette.VIOLATION, alpha=0.1)
        self.axes.text(0.12, y + tall / 2, f"{line.t:.3f} s", va="center", color=SOFT)
        for column in line.held:
            half = tall if column != line.column else tall / 2
            self._rectangle(_middle(column) - 0.12, y, 0.24, half, zorder=1, **_HATCHED)
        self._row(line, y, tall)
        if isinstance(line.deed.event, TaskInstanceEvent):
            self._reach(line, y + tall / 2)
        self._box(line, text, y, tall)

    def promise(self, lines: Sequence[str], y: float) -> None:
        """Say in words which promise was broken."""
        for place, words in enumerate(lines):
            text = f"✖ {words}" if place == 0 else words
            below = y + 0.3 + FOOT * place
            self.axes.text(
                0.15, below, text, fontsize=10, fontweight="bold", color=palette.VIOLATION
            )

    def _box(self, line: PlacedDeed, text: Sequence[str], y: float, tall: float) -> None:
        broke = bool(line.deed.broke)
        x = _middle(line.column) - WIDE * BOX / 2
        box = FancyBboxPatch((x, y + 0.05), WIDE * BOX, tall - 0.1, fc="white", zorder=3)
        box.set_boxstyle("round", pad=0, rounding_size=0.06)
        box.set_edgecolor(palette.VIOLATION if broke else EDGE)
        box.set_linewidth(2.4 if broke else 0.9)
        self.axes.add_patch(box)
        for place, words in enumerate(text):
            marked = words.startswith("✖")
            drawn = self.axes.text(x + 0.1, y + PAD + LINE * (place + 0.55), words, zorder=4)
            drawn.set_verticalalignment("center")
            drawn.set_fontweight("bold" if marked else "normal")
            drawn.set_color(palette.VIOLATION if marked else palette.DARK_INK)

    def _row(self, line: PlacedDeed, y: float, tall: float) -> None:
        """Paint the row's state after a step as a piece of its column; name it if it changed."""
        colour = palette.of("row", line.state) if line.state else "#FFFFFF"
        x = _middle(self.scene.row)
        self._rectangle(x - WIDE * ROW / 2, y - 0.005, WIDE * ROW, tall + 0.01, fc=colour, zorder=2)
        if line.changed:
            number = "" if line.try_number is None else f"  try {line.try_number}"
            drawn = self.axes.text(x, y + tall / 2, f"{line.state}{number}", zorder=4)
            drawn.set(ha="center", va="center", fontweight="bold", color=palette.ink(colour))

    def _reach(self, line: PlacedDeed, y: float) -> None:
        """Paint how a process reaches for the row."""
        side = -1 if line.column < self.scene.row else 1
        tip = _middle(self.scene.row) + side * WIDE * ROW / 2
        tail = _middle(line.column) - side * WIDE * BOX / 2
        colour = palette.VIOLATION if line.deed.broke else palette.DARK_INK
        arrow = {"arrowstyle": "-|>", "color": colour, "lw": 1.8, "shrinkA": 0, "shrinkB": 0}
        self.axes.annotate("", xy=(tip, y), xytext=(tail, y), arrowprops=arrow, zorder=2)

    def _rectangle(self, x: float, y: float, wide: float, tall: float, **style: object) -> None:
        self.axes.add_patch(Rectangle((x, y), wide, tall, **{"lw": 0, **style}))  # type: ignore[arg-type]


_HATCHED: Final = {"fc": "#E4E0EA", "ec": palette.FAULT, "hatch": "////"}
"""How a process looks that is kept from its work."""
