"""One table of all known races: who has each, where it was seen, how bad, what to do meanwhile.

What a race is stands in its scenario; where it was seen, in `SEEN`, which keeps for each race and
release what the last runs of it showed.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import msgspec
from packaging.version import Version

from common.errors import UserError
from common.files import write_whole
from reports.records import SCENARIOS, TestRecord, issue_link
from reports.store import Runs
from scenarios.scenario import Scenario, load_all

SEEN = SCENARIOS / "seen.json"
UNCONFIRMED = SCENARIOS / "unconfirmed.md"
"""What was read in Airflow's source and is no scenario, with what was tried."""

_URL = re.compile(r"https://[^\s();,]+")
_GRAVITY = ("high", "medium", "low")


class Sight(msgspec.Struct, frozen=True):
    """What the runs of a race on a release showed: `shown` of `of` that could tell, last `when`."""

    shown: int
    of: int
    when: str

    def __str__(self) -> str:
        return f"{self.shown} of {self.of}"


Seen = Mapping[str, Mapping[str, Sight]]
"""By scenario and release."""


def read_seen(path: Path = SEEN) -> Seen:
    """Return what was kept. Raises UserError for a file that is not ours."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=dict[str, dict[str, Sight]])
    except FileNotFoundError:
        return {}
    except (OSError, msgspec.MsgspecError) as error:
        raise UserError(f"{path} cannot be read: {error}.", "Restore it from git.") from error


def seen_in(runs: Runs, races: Iterable[Scenario]) -> Seen:
    """Return what runs showed of the races that their tests force; the unknown tell nothing."""
    helps = {f"{race.name}-{each}": race for race in races for each in race.tried}
    found: dict[str, dict[str, list[tuple[bool, str]]]] = defaultdict(lambda: defaultdict(list))
    for folder in runs.folders:
        for record in (*folder.tests, *folder.others):
            if (told := _told(record, helps)) is not None:
                name, shown = told
                found[name][record.version].append((shown, folder.started[:10]))
    return {
        race: {
            release: Sight(
                sum(shown for shown, _ in sights), len(sights), max(day for _, day in sights)
            )
            for release, sights in of.items()
        }
        for race, of in found.items()
    }


def tries(race: str) -> str:
    """Return what the runs that did what a race's `meanwhile` says are kept as."""
    return f"{race}, meanwhile"


def _told(record: TestRecord, helps: Mapping[str, Scenario]) -> tuple[str, bool] | None:
    """Return what a run tells of, and whether it showed itself; None for one that does not tell.

    A race that its test forces; or that keeps away, or does not, where its `meanwhile` is done:
    `helps` are these, by the parameters of their tests. A build of one's own tells nothing of the
    release that it calls itself.
    """
    if record.airflow != record.version:
        return None
    performs = record.name.parameters
    if (known := record.known) and performs.startswith(f"{known.scenario}-"):
        return (known.scenario, record.shown is not None) if record.informative else None
    if race := helps.get(performs):
        shown = record.verdict == "invalid" and bool(record.broken & race.breaks)
        return (tries(race.name), shown) if shown or record.verdict == "valid" else None
    return None


def renewed(kept: Seen, newer: Seen) -> Seen:
    """Return what is known with newer runs: what they say otherwise takes the older ones' place.

    Where both say the same, always or never, those of a later day are added, and of one day's the
    more count. What came before what is known already takes no place.
    """
    return {
        race: {
            **(of := kept.get(race, {})),
            **{
                release: _with(of[release], sight) if release in of else sight
                for release, sight in newer.get(race, {}).items()
            },
        }
        for race in {**kept, **newer}
    }


def _with(old: Sight, new: Sight) -> Sight:
    if new.when < old.when:
        return old
    always, never = new.shown == new.of and old.shown == old.of, not new.shown and not old.shown
    if not (always or never):
        return new
    if new.when == old.when:
        return max(new, old, key=lambda each: each.of)
    return Sight(old.shown + new.shown, old.of + new.of, new.when)


def write_seen(seen: Seen, path: Path = SEEN) -> None:
    """Keep what was seen, in an order that makes small differences."""
    ordered = {
        race: {release: seen[race][release] for release in sorted(seen[race], key=Version)}
        for race in sorted(seen)
    }
    text = msgspec.json.format(msgspec.json.encode(ordered), indent=2).decode()
    write_whole(path, f"{text}\n")


def known_races(folder: Path = SCENARIOS) -> list[Scenario]:
    """Return the scenarios, the gravest first."""
    return sorted(
        load_all(folder).values(), key=lambda race: (_GRAVITY.index(race.severity), race.name)
    )


_HEAD = """\
# Known races

Written by `python -m reports races --write` from `suites/scenarios/`, and from the last runs of
each (`python -m reports races RUNS --write` takes up newer ones). *Seen* is how many of the runs
that could tell showed it: on that release, on demand. **high** is work that is lost, done twice or
recorded wrongly with nobody told; **medium** is late, or done twice where that is seen; **low** is
noise; **by design** is what Airflow's makers call its design. What to do *meanwhile* is read from
Airflow's source; *tried* is in how many runs that did so the race showed itself all the same
(`pytest suites/ -m meanwhile --airflow ...`).

| race | severity | has it | seen | meanwhile | upstream |
| --- | --- | --- | --- | --- | --- |
"""


def page(races: Sequence[Scenario], seen: Seen) -> str:
    """Return the table as Markdown, and what is none of it."""
    rows = (f"| {' | '.join(_row(race, seen))} |\n" for race in races)
    return _HEAD + "".join(rows) + "\n" + UNCONFIRMED.read_text()


def _row(race: Scenario, seen: Seen) -> Iterable[str]:
    yield f"[{race.name}](../suites/scenarios/{race.name}.yaml): {race.title}"
    yield "by design" if race.by_design else race.severity
    yield ", ".join(sorted(map(str, race.has), reverse=True)).replace(".dev0", "")
    yield "<br>".join(_by_release(seen, race.name)) or "not yet"
    tried = ", ".join(_by_release(seen, tries(race.name)))
    yield race.meanwhile + (f"<br>*tried* {tried}" if tried else "")
    yield _URL.sub(_linked, race.issue)


def _by_release(seen: Seen, name: str) -> list[str]:
    sights = seen.get(name, {})
    return [f"{each}: {sights[each]}" for each in sorted(sights, key=Version)]


def _linked(found: re.Match[str]) -> str:
    link = issue_link(found[0])
    return f"[{link[1]}]({link[0]})" if link else found[0]
