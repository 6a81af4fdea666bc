"""The start delay that can be changed while a kubelet runs: a number in a file."""

from pathlib import Path

START_DELAY = "start_delay"
"""The file's name in the kubelet's --work directory."""


def write(work: Path, seconds: float) -> None:
    """Make each pod from the next one on wait `seconds`; written whole or not at all."""
    building = work / f"{START_DELAY}.new"
    building.write_text(f"{seconds:g}")
    building.replace(work / START_DELAY)


def read(work: Path, otherwise: float) -> float:
    """Return the seconds in the directory's file, `otherwise` where there is none."""
    try:
        return float((work / START_DELAY).read_text())
    except (FileNotFoundError, ValueError):
        return otherwise
