"""Which points of Airflow are switched on, and what a statement that stands at one is called.

A point's name must be the same whenever the same code of Airflow sends the same statement, so that
a schedule can be replayed: values are left out of it, and long lists of them count once.
"""

import functools
import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import msgspec

from chaos.holds.points import STATEMENTS
from lab.kubeapi.rules import Verb, When

API_SERVER = "api-server"
PROCESSES = ("scheduler-*", API_SERVER, "triggerer-*")
"""Whose statements are points. The DAG processor shares nothing with a run that is under way."""

NEVER = frozenset({"job"})
"""Tables whose statements are heartbeats: who stands there is taken for dead by its peers."""


class Watched(msgspec.Struct, frozen=True):
    """A kind of point: scans of a table inside statements, or the commits after it was written."""

    table: str
    commits: bool = False

    def __str__(self) -> str:
        return f"commit of {self.table}" if self.commits else f"scan of {self.table}"


class Requested(msgspec.Struct, frozen=True):
    """A kind of point: a scheduler's requests about pods, before or after they are processed."""

    verb: Verb
    when: When

    def __str__(self) -> str:
        return f"{self.when} {self.verb} of pods"


Point = Watched | Requested

SCANS = tuple(map(Watched, ("dag", "dag_run", "task_instance")))
COMMITS = tuple(Watched(table, commits=True) for table in ("dag_run", "task_instance"))
ASSETS = tuple(map(Watched, ("asset", "asset_event", "asset_dag_run_queue")))

_VERBS: Sequence[Verb] = ("create", "patch", "delete")
_WHENS: Sequence[When] = ("before", "after")
PODS = tuple(Requested(verb, when) for verb in _VERBS for when in _WHENS)

LEVELS: Mapping[str, Sequence[Point]] = {
    "coarse": SCANS[:1],
    "fine": SCANS[:2],
    "commits": (*SCANS[:1], *COMMITS),
    "pods": (*SCANS[:1], *PODS),
    "finest": (*SCANS, *COMMITS),
}
"""How finely a round is cut. Few points make deep orders likely, many make narrow windows
reachable (PCT's bound, in `strategies`, says how fast): so a round draws one of these."""


@dataclass(frozen=True)
class Footprint:
    """What a statement, or a transaction, touches: tables, and which of them it writes or locks."""

    tables: frozenset[str] = frozenset()
    written: frozenset[str] = frozenset()

    def meets(self, other: "Footprint") -> bool:
        """Return whether the order of the two can matter: a table of both, written by one."""
        return bool(self.written & other.tables or self.tables & other.written)

    def __or__(self, other: "Footprint") -> "Footprint":
        return Footprint(self.tables | other.tables, self.written | other.written)


@dataclass(frozen=True)
class Statement:
    """A statement of Airflow's: what it is called, and what it touches."""

    name: str
    footprint: Footprint
    text: str = ""
    """As Airflow sent it, with ? for each value."""

    @property
    def pattern(self) -> str:
        """Return a LIKE pattern of its text: of a SELECT from where its columns end."""
        columns, begins, rest = self.text.partition("FROM")
        text = f"{columns.split()[0]} ?FROM{rest}" if begins else self.text
        for sign in "\\%_":
            text = text.replace(sign, f"\\{sign}")
        loose = re.sub(r"\(?\?\)?|\s+", "%", text)[:_LONGEST].rstrip("\\")
        return re.sub(r"((?<!\\)%)+", "%", f"{loose}%")


_LONGEST = 600


def commit(writes: Iterable[str]) -> Statement:
    """Return the commit of a transaction that wrote some tables."""
    tables = frozenset(writes) - NEVER
    return Statement(f"commit-{'+'.join(sorted(tables))}", Footprint(tables, tables))


def requested(point: Requested) -> Statement:
    """Return what a request is called at its point."""
    tables = frozenset({"pods"})
    return Statement(f"{point.when}-{point.verb}-pods", Footprint(tables, tables))


_VALUES = re.compile(r"'(?:[^']|'')*'(?:::\w+)*|\b\d+(?:\.\d+)?\b|%\(\w+\)s|\$\d+")
_LISTS = re.compile(r"\(\s*\?(?:\s*,\s*\?)*\s*\)(?:\s*,\s*\(\s*\?(?:\s*,\s*\?)*\s*\))*")
_LOCKS = re.compile(r"\bFOR (?:NO KEY )?UPDATE(?: OF (\w+))?")
_TABLE = re.compile(r"\b(?:FROM|JOIN|UPDATE|INTO)\s+(?:ONLY\s+)?\"?(\w+)\"?", re.IGNORECASE)
_LISTED = re.compile(
    r"\bFROM\s+(\"?\w+\"?(?:\s+AS\s+\w+)?(?:\s*,\s*\"?\w+\"?(?:\s+AS\s+\w+)?)+)", re.IGNORECASE
)
"""Tables that FROM names one after the other; a statement's name has the first alone, as ever."""

_WRITES = re.compile(r"\b(?:UPDATE|INSERT INTO|DELETE FROM)\s+\"?(\w+)\"?")


@functools.lru_cache(maxsize=256)  # of texts with their values: most come once
def statement(query: str) -> Statement:
    """Return what the text of a statement is called, as far as the server shows it."""
    plain = _LISTS.sub("(?)", _VALUES.sub("?", query))
    return _plain(plain, _known(query))


@functools.lru_cache(maxsize=1024)
def _plain(plain: str, known: str | None) -> Statement:
    verb = plain.split(None, 1)[0].upper() if plain.strip() else "?"
    unlocked = _LOCKS.sub("", plain)
    tables = tuple(dict.fromkeys(_TABLE.findall(unlocked)))
    lists = _LISTED.findall(unlocked)
    listed = {name for each in lists for name in re.findall(r"(?:^|,)\s*\"?(\w+)", each)}
    written = {name for name in _WRITES.findall(unlocked) if name in tables}
    locked = _LOCKS.search(plain)
    if locked:
        written.add(locked.group(1) or (tables[0] if tables else ""))
    footprint = Footprint(frozenset(tables) | listed, frozenset(written))
    if known:
        return Statement(known, footprint, plain)
    digest = hashlib.sha256(plain.encode()).hexdigest()[:4]
    what = "+".join(tables[:3]) or "nothing"
    lock = "-locking" if locked else ""
    return Statement(f"{verb.lower()}{lock}-{what}-{digest}", footprint, plain)


def _known(query: str) -> str | None:
    for name, pattern in _patterns().items():
        if pattern.fullmatch(query):
            return name
    return None


@functools.cache
def _patterns() -> Mapping[str, re.Pattern[str]]:
    """Return the statements that have a name (chaos.holds.points) as Python's patterns."""
    found = {}
    for name, each in STATEMENTS.items():
        either = "|".join(_regex(pattern) for pattern in each.patterns.values())
        found[name] = re.compile(either, re.DOTALL)
    return found


def _regex(like: str) -> str:
    for word in re.findall(r"\{\w+\}", like):
        like = like.replace(word, "%")
    return ".*?".join(map(re.escape, re.split("%+", like)))
