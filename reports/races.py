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


def seen_in(runs: Runs) -> Seen:
    """Return what runs showed of the races that their tests force; the unknown tell nothing."""
    found: dict[str, dict[str, list[tuple[bool, str]]]] = defaultdict(lambda: defaultdict(list))
    for folder in runs.folders:
        for record in (*folder.tests, *folder.others):
            if (race := _forced(record)) and record.informative:
                sights = found[race][record.version]
                sights.append((record.shown is not None, folder.started[:10]))
    return {
        race: {
            release: Sight(sum(shown for shown, _ in sights), len(sights), max(sights)[1])
            for release, sights in of.items()
        }
        for race, of in found.items()
    }


def _forced(record: TestRecord) -> str:
    """Return the scenario that a test performs, empty for a test that only may meet one."""
    race = record.known.scenario if record.known else ""
    return race if record.name.parameters.startswith(f"{race}-") else ""


def renewed(kept: Seen, newer: Seen) -> Seen:
    """Return what is known with newer runs, which take the place of older ones of their release.

    But for fewer ones that say the same, always or never: the many say more.
    """
    return {
        race: {
            **(of := kept.get(race, {})),
            **{
                release: sight
                for release, sight in newer.get(race, {}).items()
                if release not in of or not _says_less(sight, of[release])
            },
        }
        for race in {**kept, **newer}
    }


def _says_less(new: Sight, old: Sight) -> bool:
    always, never = new.shown == new.of and old.shown == old.of, not new.shown and not old.shown
    return new.of < old.of and (always or never)


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
noise; **by design** is what Airflow's makers call its design. What to do meanwhile is read from
Airflow's source.

| race | severity | has it | seen | meanwhile | upstream |
| --- | --- | --- | --- | --- | --- |
"""


def page(races: Sequence[Scenario], seen: Seen) -> str:
    """Return the table as Markdown."""
    return _HEAD + "".join(f"| {' | '.join(_row(race, seen))} |\n" for race in races)


def _row(race: Scenario, seen: Seen) -> Iterable[str]:
    yield f"[{race.name}](../suites/scenarios/{race.name}.yaml): {race.title}"
    yield "by design" if race.by_design else race.severity
    yield ", ".join(sorted(map(str, race.has), reverse=True)).replace(".dev0", "")
    sights = seen.get(race.name, {})
    releases = sorted(sights, key=Version)
    yield "<br>".join(f"{each}: {sights[each]}" for each in releases) or "not yet"
    yield race.meanwhile
    yield _URL.sub(_linked, race.issue)


def _linked(found: re.Match[str]) -> str:
    link = issue_link(found[0])
    return f"[{link[1]}]({link[0]})" if link else found[0]
