"""Colours that also tell colour-blind people apart what they stand for (after Okabe and Ito).

No meaning rests on a colour alone: spans carry their state as text, marks differ in shape.
"""

from typing import Final

VIOLATION: Final = "#B4004E"
"""A broken promise; nothing else has this colour."""

FAULT: Final = "#9468B4"
HOLD: Final = "#6A7F99"
"""Both are seen on white and on black alike."""

STATES: Final = {
    "NONE": "#C9CDD2",
    "SCHEDULED": "#F2DC5D",
    "QUEUED": "#E69F00",
    "RUNNING": "#56B4E9",
    "RESTARTING": "#9AD0F5",
    "DEFERRED": "#8C8CF0",
    "AWAITING_INPUT": "#B3B3F5",
    "UP_FOR_RETRY": "#CC79A7",
    "UP_FOR_RESCHEDULE": "#E3B1CC",
    "SUCCESS": "#009E73",
    "FAILED": "#D55E00",
    "UPSTREAM_FAILED": "#EE9C63",
    "SKIPPED": "#9FB8B0",
    "REMOVED": "#7F868E",
}
"""Airflow's task instance states, in the order in which a task instance comes through them."""

PHASES: Final = {
    "Pending": "#DDE3EA",
    "Running": "#9CCFEF",
    "Succeeded": "#7CC9AF",
    "Failed": "#E8A070",
    "Unknown": "#C9CDD2",
}
"""The phases of a pod, paler than the states they resemble."""

WORKER: Final = "#5B8DB8"
USER_CODE: Final = "#3C6E47"
OTHER: Final = "#A7AEB6"

DARK_INK: Final = "#14181D"
LIGHT_INK: Final = "#FFFFFF"


def of(kind: str, label: str) -> str:
    """Return the colour of a span: `kind` is the lane's kind, `label` a state or a phase."""
    if kind == "row":
        return STATES.get(label, OTHER)
    if kind == "pod":
        return PHASES.get(label, OTHER)
    return {"worker": WORKER, "code": USER_CODE, "fault": FAULT, "hold": HOLD, "held": HOLD}.get(
        kind, OTHER
    )


def ink(colour: str) -> str:
    """Return the ink, dark or light, that is read best on a colour (WCAG's luminance)."""
    channels = (int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    return DARK_INK if luminance > 0.19 else LIGHT_INK
