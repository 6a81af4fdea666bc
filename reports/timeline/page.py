"""Puts the page together: prose, witness, figures and packed details, in one file.

The file asks the network for nothing, so that it opens from a disk or an archive years later.
"""

from importlib import resources
from pathlib import Path

import jinja2
from bokeh.embed import json_item
from bokeh.resources import Resources

from reports.timeline import palette
from reports.timeline.choice import chosen
from reports.timeline.collection import Collection, collect
from reports.timeline.figures import build
from reports.timeline.packing import PARCEL, pack, parcels
from reports.timeline.source import open_source
from reports.timeline.survey import Survey, survey
from reports.timeline.wording import banners, headline, sentences, told

PAGE = "timeline.html"

_SCRIPTS = ("data.js", "lanes.js", "draw.js", "list.js", "page.js")


def write(folder: Path) -> Path:
    """Draw the history in a test's folder as `timeline.html` beside it, and return its path.

    A history that breaks off is drawn as far as it goes, under a banner that says so. Raises
    UserError if there is no history that can be read.
    """
    return publish(survey(open_source(folder)), folder / PAGE)


def publish(found: Survey, path: Path) -> Path:
    """Write the page of a history that was surveyed already, whole or not at all."""
    building = path.with_suffix(".new")
    building.write_text(render(found, collect(found)), encoding="utf-8")
    building.replace(path)
    return path


def render(found: Survey, collection: Collection) -> str:
    """Give the page's HTML."""
    tracks = list(collection.tracks.values())
    item = json_item(build(found, collection), "figures")
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    return environment.from_string(_asset("page.html.j2")).render(
        title=headline(found),
        sentences=sentences(found),
        banners=banners(found, collection),
        verdict=found.verdict,
        witness=told(found.judgement),
        legend=_legend(collection),
        style=_asset("page.css"),
        bokeh="\n".join(Resources(mode="inline", components=["bokeh"]).js_raw),
        script="\n".join(map(_asset, _SCRIPTS)),
        figures=pack(item),
        facts=pack(_facts(found, collection)),
        parcels=list(parcels(tracks)),
    )


def _facts(found: Survey, collection: Collection) -> dict[str, object]:
    """Give what the script needs at once: names, violations, disturbances, colours."""
    index = {ti: place for place, ti in enumerate(collection.tracks)}
    story = chosen(found.judgement)
    return {
        "end": found.end,
        "parcel": PARCEL,
        "schedulers": found.source.header.schedulers,
        "names": [track.name for track in collection.tracks.values()],
        "violations": [
            (mark.t, index.get(mark.ti, -1) if mark.ti else -1, mark.invariant, mark.message)
            for mark in found.marks
        ],
        "chosen": index.get(story.ti, -1) if story else -1,
        "bars": [
            (bar.kind, bar.name, bar.process, bar.text, bar.begin, bar.end)
            for bar in collection.disturbances.bars
        ],
        "notes": collection.notes,
        "colours": _colours(),
    }


def _colours() -> dict[str, dict[str, tuple[str, str]]]:
    """Give every span's colour and ink by kind and label; the empty label is any other."""
    kinds: dict[str, list[str]] = {
        "row": [*palette.STATES, ""],
        "pod": [*palette.PHASES, ""],
        "worker": [""],
        "code": [""],
        "fault": [""],
        "gate": [""],
        "held": [""],
    }
    found: dict[str, dict[str, tuple[str, str]]] = {}
    for kind, labels in kinds.items():
        of = "gate" if kind == "held" else kind
        found[kind] = {
            label: (palette.of(of, label), palette.ink(palette.of(of, label))) for label in labels
        }
    return found


def _legend(collection: Collection) -> list[tuple[str, str]]:
    known = [state for state in palette.STATES if state in collection.states]
    return [(state, palette.of("row", state)) for state in known]


def _asset(name: str) -> str:
    return (resources.files("reports.timeline") / "assets" / name).read_text(encoding="utf-8")
