"""What becomes of a user's own values: what to use of them, or all that is wrong, key by key."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import reduce
from pathlib import Path

from common.errors import UserError
from lab.kind.helm.chart import Chart, Contents, contents
from lab.kind.helm.claims import Settled, leaf, settle
from lab.kind.helm.files import Given, Values, read_file
from lab.kind.helm.unknown import unknown
from lab.kind.helm.values import merge, merged


@dataclass(frozen=True)
class Accepted:
    """The values of a release, and what its user should know of how their own went into them."""

    values: Values
    notes: tuple[str, ...] = ()


def accept(paths: Sequence[Path], lab: Values, chart: Chart | None) -> Accepted:
    """Return a lab's values with its user's on top, as far as they are theirs to say.

    Later files have the last word, as with Helm. Raises UserError that names every key which the
    chart would ignore, or which makes the lab another one than was asked for. Without a chart
    nobody knows which keys it has.
    """
    takes = contents(chart) if chart else Contents("")
    files = [read_file(path, takes.keys if chart else ()) for path in paths]
    settled = settle(reduce(merge, (each.values for each in files), Values()), lab, takes.defaults)
    wrong = [f"{_place(files, key)} {what}" for key, what in settled.refused]
    if chart:
        wrong += [_in(files, each, problem) for each in files for problem in unknown(each, takes)]
    if wrong:
        name = f"{paths[0].name} does" if len(paths) == 1 else "These values do"
        which = f", with the chart {takes.version}" if chart else ""
        raise UserError(
            f"{name} not make the lab that was asked for{which}: {'; '.join(wrong)}.",
            "Change or take out these keys; a later --values has the last word.",
        )
    return Accepted(merged(lab, [settled.values]), tuple(_notes(files, settled)))


def _notes(files: Sequence[Given], settled: Settled) -> Iterator[str]:
    for each in files:
        yield from each.notes
    for why, keys in settled.taken_out.items():
        yield f"--values: not taken, as {why}: {_listed(files, keys)}."
    if settled.changed:
        yield f"--values: changes what charts-values/ sets: {_listed(files, settled.changed)}."


def _listed(files: Sequence[Given], keys: Sequence[str]) -> str:
    return ", ".join(_place(files, key) for key in dict.fromkeys(keys))


def _place(files: Sequence[Given], key: str) -> str:
    """Return a key as its file says it; of several files the last, whose word counts."""
    bare = key.partition("[")[0]
    said = [each for each in files if leaf(each.values, bare) is not None] or files
    return _in(files, said[-1], said[-1].below + key)


def _in(files: Sequence[Given], which: Given, text: str) -> str:
    return text if len(files) == 1 else f"{which.path.name}: {text}"
