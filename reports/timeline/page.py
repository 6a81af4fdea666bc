"""Puts the page together: prose, witness, figures and packed details, in one file.

The file asks the network for nothing, so that it opens from a disk or an archive years later. A
page with ten thousand task instances must open at once: what nobody asked for yet stays packed, in
parcels that a browser unpacks one at a time (DecompressionStream, in all since 2023).
"""

import base64
import gzip
import re
from collections.abc import Iterable, Iterator, Sequence
from importlib import resources
from pathlib import Path

import jinja2
import msgspec
from bokeh.embed import json_item
from bokeh.resources import Resources

from common.files import write_whole
from common.redaction import redact
from oracle import witness
from oracle.verdict import Judgement
from reports.records import environment
from reports.timeline import palette
from reports.timeline.figures import build
from reports.timeline.scene import chosen
from reports.timeline.survey import Survey

PARCEL = 200
"""Task instances in a parcel: some 100 kB of JSON, unpacked within a frame or two."""

VERDICTS = {
    "valid": "Every promise was kept.",
    "invalid": "A promise was broken.",
    "unknown": "This run proves nothing.",
}

_SCRIPTS = ("data.js", "lanes.js", "draw.js", "list.js", "page.js")


def publish(found: Survey, path: Path) -> Path:
    """Write the page, whole or not at all."""
    return write_whole(path, render(found))


def render(found: Survey) -> str:
    """Give the page's HTML."""
    tracks = list(found.collection.tracks.values())
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    return environment.from_string(_asset("page.html.j2")).render(
        title=redact(f"{found.header.run}: {found.verdict}"),
        sentences=[redact(sentence) for sentence in _sentences(found)],
        banners=[redact(banner) for banner in _banners(found)],
        verdict=found.verdict,
        witness=_witness(found.judgement),
        legend=_legend(found),
        style=_asset("page.css"),
        bokeh="\n".join(Resources(mode="inline", components=["bokeh"]).js_raw),
        script="\n".join(map(_asset, _SCRIPTS)),
        figures=pack(json_item(build(found), "figures")),
        facts=pack(_facts(found)),
        parcels=list(parcels(tracks)),
    )


def pack(value: object) -> str:
    """Return a value as JSON, gzip and base64; the same value gives the same text."""
    data = gzip.compress(msgspec.json.encode(value), compresslevel=6, mtime=0)
    return base64.b64encode(data).decode()


def parcels(values: Sequence[object], size: int = PARCEL) -> Iterable[str]:
    """Pack values in parcels of `size`."""
    for start in range(0, len(values), size):
        yield pack(values[start : start + size])


def _facts(found: Survey) -> dict[str, object]:
    """Give what the script needs at once: names, violations, disturbances, colours."""
    index = {ti: place for place, ti in enumerate(found.collection.tracks)}
    story = chosen(found.judgement)
    return {
        "end": found.end,
        "parcel": PARCEL,
        "schedulers": found.header.schedulers,
        "names": [track.name for track in found.collection.tracks.values()],
        "violations": [
            (mark.t, index.get(mark.ti, -1) if mark.ti else -1, mark.invariant, mark.message)
            for mark in found.marks
        ],
        "chosen": index.get(story.ti, -1) if story else -1,
        "bars": [
            (bar.kind, bar.name, bar.process, bar.text, bar.begin, bar.end)
            for bar in found.collection.disturbances.bars
        ],
        "notes": found.collection.notes,
        "colours": _colours(),
    }


def _colours() -> dict[str, dict[str, tuple[str, str]]]:
    """Give every span's colour and ink by kind and label; the empty label is any other."""
    labels = {"row": palette.STATES, "pod": palette.PHASES}
    kinds = ("row", "pod", "worker", "code", "fault", "hold", "held")
    colours = {
        kind: {label: palette.of(kind, label) for label in (*labels.get(kind, ()), "")}
        for kind in kinds
    }
    return {
        kind: {label: (colour, palette.ink(colour)) for label, colour in of.items()}
        for kind, of in colours.items()
    }


def _legend(found: Survey) -> list[tuple[str, str]]:
    states = found.collection.states
    return [(state, palette.of("row", state)) for state in palette.STATES if state in states]


def _asset(name: str) -> str:
    return (resources.files("reports.timeline") / "assets" / name).read_text(encoding="utf-8")


def _sentences(found: Survey) -> Iterator[str]:
    """Say in prose what ran, what it proves and how much there was of everything."""
    header, counts, record = found.header, found.judgement.counts, found.record
    where = environment(header.airflow, header.lab, len(header.schedulers))
    yield f"{where}, seed {header.seed}. {VERDICTS.get(found.verdict, '')}".strip()
    yield (
        f"{_many(counts.task_instances, 'task instance')} in {_many(counts.runs, 'DAG run')}, "
        f"{_many(counts.pods, 'pod')}, {_many(counts.refused_starts, 'refused start')}, "
        f"{found.end:.1f} s."
    )
    broken = {name: number for name, number in found.judgement.by_invariant.items() if number}
    if broken:
        times = ", ".join(f"{name} {number} times" for name, number in broken.items())
        yield f"Broken: {times.replace(' 1 times', ' once')}."
    if record and record.known:
        yield f"The test is about {record.known.scenario}: {record.known.title}."
    if found.verdict == "unknown":
        yield from (f"{reason}." for reason in (record or found.judgement).reasons[:3])


def _banners(found: Survey) -> Iterator[str]:
    """Say what the page does not show."""
    if found.breaks_off:
        yield f"The history breaks off: {found.breaks_off}."
    if left_out := found.collection.left_out:
        yield (
            f"{_many(left_out, 'task instance')} without a violation are only in the "
            "summary; there are too many for one page."
        )
    if found.violations > len(found.marks):
        yield f"{found.violations - len(found.marks)} more violations are only counted."
    if left_out := found.collection.disturbances.left_out:
        yield f"{left_out} more faults and holds are not drawn."


def _witness(judgement: Judgement) -> list[list[str]]:
    """Return the witness line by line; a line of its timeline in three: when, who, what."""
    lines = redact(witness.text(judgement)).splitlines()
    return [re.split(r"\s{2,}", line.strip(), maxsplit=2) for line in lines]


def _many(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
