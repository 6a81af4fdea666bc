"""What a release is held to: reports/policy.yaml, read strictly.

A gate that guesses at its policy guards nothing, so every key must be known, every date and
specifier good, and every acceptance must have an end, at most a year away.
"""

from collections.abc import Sequence
from datetime import date, timedelta
from fnmatch import fnmatchcase
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import yaml
from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.version import InvalidVersion, Version

from common.errors import UserError
from oracle.invariants import INVARIANTS
from reports.records import TestRecord

LONGEST = timedelta(days=366)
"""How far away the end of an acceptance may be."""

_Text = Annotated[str, msgspec.Meta(min_length=1)]
_Slowdown = Annotated[float, msgspec.Meta(gt=1.0, le=100.0)]


class _Strict(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A part of the policy; a key that it does not know is an error."""


class Acceptance(_Strict, frozen=True, kw_only=True):
    """Violations that hold no release for now: a scenario's, or those of named invariants.

    A scenario's are the invariants that it breaks, and those in `also` that follow from it.
    `tests` is a glob of test ids, `until` the last day on which the acceptance counts.
    """

    scenario: _Text | None = None
    also: list[_Text] = []
    invariants: list[_Text] = []
    tests: _Text = "*"
    airflow: _Text
    reason: _Text
    owner: _Text
    until: date

    @property
    def name(self) -> str:
        """Return what it accepts, in words."""
        what = self.scenario or ", ".join(self.invariants)
        return what if self.tests == "*" else f"{what} in {self.tests}"

    def concerns(self, record: TestRecord) -> bool:
        """Tell whether a test is one in which it could be needed."""
        if not fnmatchcase(record.test, self.tests) or not within(record.version, self.airflow):
            return False
        known = record.known.scenario if record.known else None
        return self.scenario is None or self.scenario == known

    def covers(self, record: TestRecord) -> frozenset[str]:
        """Return which of the record's broken invariants it accepts, whatever the day."""
        if not self.concerns(record):
            return frozenset()
        if self.scenario is None:
            return record.broken & set(self.invariants)
        if record.known is None or not record.shows_known:
            return frozenset()
        return record.broken & {*record.known.breaks, *self.also}

    def lapsed(self, today: date) -> bool:
        """Tell whether its last day is over."""
        return today > self.until


class Safety(_Strict, frozen=True, kw_only=True):
    """No promise of Airflow may be broken, but for what is accepted by name."""

    accepted: list[Acceptance] = []


class Completeness(_Strict, frozen=True, kw_only=True):
    """What must have been done for the answer to count.

    `scenarios` must have been forced, `labs` used, and `task_instances` judged, for every gated
    Airflow; `versions` must be among the gated ones.
    """

    scenarios: list[_Text] = []
    labs: list[Literal["embedded", "kind", "cluster"]] = []
    versions: list[_Text] = []
    task_instances: Annotated[int, msgspec.Meta(ge=1)] = 1


class KnownBad(_Strict, frozen=True, kw_only=True):
    """Releases that have a scenario's race: the suite's own check, run with --expect-known."""

    scenario: _Text
    airflow: _Text


class OracleHealth(_Strict, frozen=True, kw_only=True):
    """Races that the suite must still be able to show, and the releases that have them."""

    known_bad: list[KnownBad] = []

    def names(self, version: str) -> bool:
        """Tell whether a version is one of the known-bad releases."""
        return any(within(version, bad.airflow) for bad in self.known_bad)


class Tolerance(_Strict, frozen=True, kw_only=True):
    """How many times slower than the last release is still no regression."""

    lag_p50: _Slowdown = 1.5
    lag_p95: _Slowdown = 1.5
    throughput: _Slowdown = 1.25
    makespan: _Slowdown = 1.25


class Performance(_Strict, frozen=True, kw_only=True):
    """Speed against the last release, by the interval of a ratio and never by a single number."""

    required: bool = False
    undecided: Literal["pass", "unknown"] = "pass"
    confidence: Annotated[float, msgspec.Meta(ge=0.5, lt=1.0)] = 0.95
    tests: list[_Text] = msgspec.field(default_factory=lambda: ["*"])
    tolerance: Tolerance = Tolerance()

    def measures(self, test: str) -> bool:
        """Tell whether a test is one whose speed is compared."""
        return any(fnmatchcase(test, pattern) for pattern in self.tests)


class Allure(_Strict, frozen=True, kw_only=True):
    """What Allure's own quality gate asks for where it is run: how many tests that can tell."""

    tests: Annotated[int, msgspec.Meta(ge=1)] = 1


class Policy(_Strict, frozen=True, kw_only=True):
    """The whole of it; `path` and `sha256` say which file it was read from."""

    safety: Safety = Safety()
    completeness: Completeness = Completeness()
    oracle_health: OracleHealth = OracleHealth()
    performance: Performance = Performance()
    allure: Allure = Allure()
    path: str = ""
    sha256: str = ""


def within(version: str, specifier: str) -> bool:
    """Tell whether a version, or a pre-release, is in a specifier; a version of no kind is not."""
    try:
        return SpecifierSet(specifier).contains(version, prereleases=True)
    except InvalidVersion:
        return False


def read_policy(path: Path, today: date | None = None) -> Policy:
    """Read a policy; UserError with the file and the key's path where it is not a good one."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}.") from error
    try:
        content = yaml.load(data, Loader=_Loader)
    except (yaml.YAMLError, ValueError) as error:
        raise UserError(f"{path} is no policy: {_one_line(error)}") from error
    if isinstance(content, dict) and (told := {"path", "sha256"} & set(content)):
        raise UserError(f"{path}: unknown key {min(told)!r}")
    try:
        policy = msgspec.convert(content, type=Policy)
    except msgspec.ValidationError as error:
        raise UserError(f"{path}: {_mended(str(error))}") from error
    for place, fault in _faults(policy, today or date.today()):
        raise UserError(f"{path}: {place}: {fault}")
    return msgspec.structs.replace(policy, path=str(path), sha256=sha256(data).hexdigest())


class _Loader(yaml.SafeLoader):
    """YAML without surprises: a key given twice is an error, where PyYAML takes the last one."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        for position, key in enumerate(keys):
            if key in keys[:position]:
                line = node.value[position][0].start_mark.line + 1
                raise yaml.YAMLError(f"the key {key!r} is given twice, again in line {line}")
        return super().construct_mapping(node, deep)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())


def _mended(message: str) -> str:
    """Turn msgspec's message into ours: the key's path first, and a hint where it is plain."""
    what, _, place = message.partition(" - at `")
    where = place.rstrip("`").removeprefix("$").removeprefix(".")
    what = what.replace("Object contains unknown field", "unknown key")
    what = what.replace("Object missing required field", "missing key").replace("`", "'")
    what = what.replace("Invalid RFC3339 encoded date", "not a date, such as 2027-03-31")
    hint = " (put it in quotes)" if what.startswith("Expected 'str', got") else ""
    return f"{where}: {what}{hint}" if where else f"{what}{hint}"


def _faults(policy: Policy, today: date) -> list[tuple[str, str]]:
    """Return what the types cannot say, as pairs of a key's path and what is wrong there."""
    faults: list[tuple[str, str]] = []
    seen: list[Acceptance] = []
    for number, each in enumerate(policy.safety.accepted):
        place = f"safety.accepted[{number}]"
        faults += [(f"{place}{key}", fault) for key, fault in _acceptance_faults(each, today)]
        alike = msgspec.structs.replace(each, reason="-", owner="-", until=date.max)
        if alike in seen:
            faults.append((place, f"{each.name} is accepted twice for Airflow {each.airflow}"))
        seen.append(alike)
    for number, bad in enumerate(policy.oracle_health.known_bad):
        faults += _specifier_faults(f"oracle_health.known_bad[{number}].airflow", bad.airflow)
    lists: dict[str, Sequence[str]] = {
        "completeness.scenarios": policy.completeness.scenarios,
        "completeness.labs": policy.completeness.labs,
        "completeness.versions": policy.completeness.versions,
        "oracle_health.known_bad": [bad.scenario for bad in policy.oracle_health.known_bad],
    }
    for place, names in lists.items():
        twice = sorted({name for name in names if names.count(name) > 1})
        faults += [(place, f"{name!r} is named twice") for name in twice]
    return faults


def _acceptance_faults(each: Acceptance, today: date) -> list[tuple[str, str]]:
    faults = _specifier_faults(".airflow", each.airflow)
    known = {invariant.name for invariant in INVARIANTS}
    for key, names in ((".invariants", each.invariants), (".also", each.also)):
        faults += [(key, f"there is no invariant {name!r}") for name in names if name not in known]
    if (each.scenario is None) == (not each.invariants):
        faults.append(("", "name a scenario, or invariants, and not both"))
    if each.scenario is not None and not _is_name(each.scenario):
        faults.append((".scenario", f"{each.scenario!r} is no name: accept one thing at a time"))
    if each.also and each.scenario is None:
        faults.append((".also", "goes with a scenario only"))
    if each.until > today + LONGEST:
        faults.append((".until", f"{each.until} is more than a year away: no end is no acceptance"))
    return faults


def _is_name(text: str) -> bool:
    return text.lower() not in {"all", "any"} and all(c.isalnum() or c in "-_." for c in text)


def _specifier_faults(place: str, text: str) -> list[tuple[str, str]]:
    try:
        if str(SpecifierSet(text)):
            return []
    except InvalidSpecifier:
        try:
            return [(place, f"{text!r} is no version specifier; write '=={Version(text)}'")]
        except InvalidVersion:
            pass
    return [(place, f"{text!r} is no version specifier, such as '>=3.0.0,<3.2.0'")]
