"""The Bokeh figures of a page: the details of chosen task instances, and the whole run.

The whole run is drawn here, from bins. The details are empty here: the page's script fills their
sources by name, from what it unpacked, so that any number of task instances fits in a page.
"""

from typing import Any, Final

from bokeh.layouts import column
from bokeh.models import (
    BoxZoomTool,
    Column,
    ColumnDataSource,
    FixedTicker,
    HoverTool,
    PanTool,
    Range1d,
    RangeTool,
    ResetTool,
    TapTool,
    Toolbar,
    WheelZoomTool,
    ZoomInTool,
    ZoomOutTool,
)
from bokeh.plotting import figure

from reports.timeline import palette
from reports.timeline.overview import Lanes, lanes, stacks
from reports.timeline.survey import Survey

BORDER: Final = 150
"""Pixels left of all figures, for the names of the lanes; the same, so that times stand in line."""

TIP: Final = (
    '<div style="max-width:360px;font:13px/1.4 system-ui,sans-serif;white-space:normal;'
    'color:#14181d"><b>@who</b> @what<div style="color:#4a5563">@when @more</div></div>'
)


def build(survey: Survey) -> Column:
    """Make the figures, in one column: details above, the whole run below."""
    detail = _detail(survey)
    whole = Range1d(0, survey.end * 1.01)
    states = _states(survey, whole)
    happenings = _happenings(lanes(survey), whole)
    for figure_ in (states, happenings):
        tool = RangeTool(x_range=detail.x_range)
        tool.overlay.fill_color = palette.VIOLATION
        tool.overlay.fill_alpha = 0.08
        tool.overlay.line_color = palette.VIOLATION
        tool.overlay.line_alpha = 0.6
        figure_.add_tools(tool)
    return column(detail, states, happenings, sizing_mode="stretch_width", name="timeline")


def _figure(name: str, height: int, **options: Any) -> figure:
    drawn = figure(
        name=name,
        height=height,
        sizing_mode="stretch_width",
        tools="",
        min_border_left=BORDER,
        toolbar_location="above",
        output_backend="canvas",
        **options,
    )
    drawn.toolbar.logo = None
    drawn.title.text_font_size = "14px"
    drawn.background_fill_color = drawn.border_fill_color = None
    drawn.outline_line_color = None
    drawn.xaxis.axis_label_standoff = 2
    drawn.axis.axis_label_text_font_style = "normal"
    drawn.axis.major_label_text_font_size = "12px"
    drawn.axis.minor_tick_line_color = None
    drawn.grid.grid_line_alpha = 0.5
    return drawn


def _detail(survey: Survey) -> figure:
    box, pan = BoxZoomTool(dimensions="width"), PanTool(dimensions="width")
    drawn = _figure("detail", 320, x_range=Range1d(0, survey.end), y_range=Range1d(0, 1))
    drawn.xaxis.axis_label = "seconds since the history began"
    drawn.yaxis.ticker = drawn.ygrid.ticker = FixedTicker(ticks=[], name="ticker")
    drawn.yaxis.name = "lanes"
    sources = {name: ColumnDataSource(data={}, name=name) for name in _COLUMNS}
    for name, source in sources.items():
        source.data = {column_: [] for column_ in _COLUMNS[name]}
    edges = {"left": "left", "right": "right", "top": "top", "bottom": "bottom"}
    spans = drawn.quad(**edges, source=sources["spans"], fill_color="color", line_color="edge")
    spans.glyph.line_width = 1
    bars = drawn.quad(
        **edges,
        source=sources["bars"],
        fill_color="color",
        fill_alpha=0.25,
        line_color="color",
        hatch_pattern="right_diagonal_line",
        hatch_color="color",
        hatch_alpha=0.35,
    )
    drawn.text(
        x="x",
        y="y",
        text="text",
        text_color="color",
        source=sources["labels"],
        text_font_size="11px",
        text_baseline="middle",
        x_offset=9,
    )
    marks = drawn.scatter(
        x="x",
        y="y",
        marker="marker",
        fill_color="color",
        line_color="#FFFFFF",
        size="size",
        source=sources["marks"],
    )
    broken = _broken(drawn, sources)
    drawn.add_tools(
        *(box, pan, ZoomInTool(dimensions="width"), ZoomOutTool(dimensions="width")),
        *(WheelZoomTool(dimensions="width"), ResetTool(), TapTool(renderers=[spans, broken])),
        HoverTool(renderers=[spans, bars], tooltips=TIP, attachment="below"),
        HoverTool(renderers=[marks, broken], tooltips=TIP, attachment="above"),
    )
    _start_with(drawn.toolbar, box)
    return drawn


_QUAD = ("left", "right", "top", "bottom", "color", "who", "what", "when", "more")
_COLUMNS: Final = {
    "spans": (*_QUAD, "edge", "ti"),
    "bars": _QUAD,
    "labels": ("x", "y", "text", "color"),
    "marks": ("x", "y", "marker", "color", "size", "who", "what", "when", "more"),
    "broken": ("x", "y", "who", "what", "when", "more", "ti"),
    "lines": ("x", "y0", "y1"),
    "promises": ("x", "y", "text", "align", "offset"),
}
"""The sources that the page's script fills, and their columns."""


def _broken(drawn: figure, sources: dict[str, ColumnDataSource]) -> Any:
    """Add the violations: a line through all lanes, a mark, and the promise's name."""
    drawn.segment(
        x0="x",
        x1="x",
        y0="y0",
        y1="y1",
        source=sources["lines"],
        line_color=palette.VIOLATION,
        line_width=2,
        line_dash="dashed",
        name="line",
    )
    drawn.text(
        x="x",
        y="y",
        text="text",
        source=sources["promises"],
        text_color=palette.VIOLATION,
        text_font_style="bold",
        text_font_size="12px",
        text_baseline="middle",
        text_align="align",
        x_offset="offset",
        name="promise",
    )
    return drawn.scatter(
        x="x",
        y="y",
        marker="x",
        size=13,
        line_width=4,
        line_color=palette.VIOLATION,
        source=sources["broken"],
    )


def _states(survey: Survey, whole: Range1d) -> figure:
    drawn = _figure("states", 190, x_range=whole, title="The whole run, by state")
    drawn.y_range.start = 0
    drawn.yaxis[0].formatter.use_scientific = False
    quads = drawn.quad(
        **{edge: edge for edge in ("left", "right", "top", "bottom")},
        fill_color="color",
        line_color="color",
        source=ColumnDataSource(stacks(survey.collection, survey.end), name="stacks"),
    )
    drawn.xaxis.visible = False
    drawn.add_tools(HoverTool(renderers=[quads], tooltips=TIP))
    drawn.toolbar_location = None
    return drawn


def _happenings(drawn_lanes: Lanes, whole: Range1d) -> figure:
    """Draw what happened all through the run: violations, faults, holds, decisions."""
    count = len(drawn_lanes.names)
    drawn = _figure("happenings", 60 + 26 * count, x_range=whole, y_range=Range1d(0, count))
    ticks = [count - place - 0.5 for place in range(count)]
    drawn.yaxis.ticker = drawn.ygrid.ticker = FixedTicker(ticks=ticks)
    drawn.yaxis.major_label_overrides = dict(zip(ticks, drawn_lanes.names, strict=True))
    drawn.xaxis.axis_label = "seconds since the history began"
    edges = {edge: edge for edge in ("left", "right", "top", "bottom")}
    quads = drawn.quad(
        **edges,
        fill_color="color",
        line_color=None,
        source=ColumnDataSource(drawn_lanes.quads, name="binned"),
    )
    points = drawn.scatter(
        x="x",
        y="y",
        marker="x",
        size=10,
        line_width=2.5,
        line_color=palette.VIOLATION,
        source=ColumnDataSource(drawn_lanes.violations, name="violations"),
        name="point",
    )
    points.nonselection_glyph = None
    drawn.add_tools(HoverTool(renderers=[quads, points], tooltips=TIP), TapTool(renderers=[points]))
    drawn.toolbar_location = None
    return drawn


def _start_with(toolbar: Toolbar, tool: BoxZoomTool) -> None:
    """Let a drag zoom; leave the wheel to the page until its tool is asked for."""
    toolbar.active_drag = tool
    toolbar.active_scroll = None
