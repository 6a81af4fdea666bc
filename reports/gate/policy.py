"""What a release is held to: reports/policy.yaml, read strictly.

A gate that guesses at its policy guards nothing, so every key must be known, every date and
specifier good, and every acceptance must have an end, at most a year away.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import date, timedelta
from fnmatch import fnmatchcase
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import yaml
from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.version import InvalidVersion

from common.errors import UserError
from oracle.invariants import INVARIANTS
from oracle.old_names import present_test
from reports.records import TestRecord
from reports.trials import parsed

LONGEST = timedelta(days=366)
"""How far away the end of an acceptance may be."""

_Text = Annotated[str, msgspec.Meta(min_length=1)]
_INVARIANTS = {invariant.name for invariant in INVARIANTS}
_Slowdown = Annotated[float, msgspec.Meta(gt=1.0, le=100.0)]


class Specifier(str):
    """Which versions of Airflow: a version specifier, such as ">=3.0.0,<3.2.0"."""

    def __new__(cls, text: str) -> "Specifier":
        """Read one; ValueError with a hint where it is not one."""
        try:
            if str(SpecifierSet(text)):
                return super().__new__(cls, text)
            hint = ", such as '>=3.0.0,<3.2.0'"
        except InvalidSpecifier:
            version = parsed(text)
            hint = f"; write '=={version}'" if version else ", such as '>=3.0.0,<3.2.0'"
        raise ValueError(f"{text!r} is not a version specifier{hint}")


class InvariantName(str):
    """The name of an invariant that there is."""

    def __new__(cls, text: str) -> "InvariantName":
        """Read one; ValueError where there is no such invariant."""
        if text not in _INVARIANTS:
            raise ValueError(f"there is no invariant {text!r}")
        return super().__new__(cls, text)


class OneScenario(str):
    """The name of one scenario; there is no way to accept all of them."""

    def __new__(cls, text: str) -> "OneScenario":
        """Read one; ValueError where it could stand for several."""
        if text.lower() in {"", "all", "any"} or not all(c.isalnum() or c in "-_." for c in text):
            raise ValueError(f"{text!r} is not a name: accept one thing at a time")
        return super().__new__(cls, text)


class TestGlob(str):
    """A glob of test ids, with the names that tests have now."""

    __test__ = False

    def __new__(cls, text: str) -> "TestGlob":
        """Read one."""
        return super().__new__(cls, present_test(text))


class _Strict(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A part of the policy; a key that it does not know is an error."""


class Acceptance(_Strict, frozen=True, kw_only=True):
    """Violations that hold no release for now: a scenario's, or those of named invariants.

    A scenario's are the invariants that it breaks, and those in `also` that follow from it.
    `tests` is a glob of test ids, `until` the last day on which the acceptance counts.
    """

    scenario: OneScenario | None = None
    also: list[InvariantName] = []
    invariants: list[InvariantName] = []
    tests: TestGlob = TestGlob("*")
    airflow: Specifier
    reason: _Text
    owner: _Text
    until: date

    @property
    def name(self) -> str:
        """Return what it accepts, in words."""
        what = str(self.scenario or ", ".join(self.invariants))
        return what if self.tests == "*" else f"{what} in {self.tests}"

    def concerns(self, record: TestRecord) -> bool:
        """Tell whether a test is one in which it could be needed."""
        if not fnmatchcase(record.test, self.tests) or not within(record.version, self.airflow):
            return False
        races = (*record.races, *([record.known] if record.known else []))
        return self.scenario is None or any(race.scenario == self.scenario for race in races)

    def covers(self, record: TestRecord) -> frozenset[str]:
        """Return which of the record's broken invariants it accepts, whatever the day."""
        if not self.concerns(record):
            return frozenset()
        if self.scenario is None:
            return record.broken & set(self.invariants)
        shown = record.races or ([record.shown] if record.shown else [])
        races = [race.explains for race in shown if race.scenario == self.scenario]
        if not races:
            return frozenset()
        found_new = record.explored.new if record.explored else frozenset()
        return (record.broken - found_new) & frozenset(self.also).union(*races)

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
    """Releases that have a scenario's race: the suite's own check, run with --expect-known.

    Where it is not `required`, such a run is the check where there is one, and need not be.
    """

    scenario: _Text
    airflow: Specifier
    required: bool = True


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
    tests: list[TestGlob] = msgspec.field(default_factory=lambda: [TestGlob("*")])
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
        raise UserError(f"{path} is not a policy: {' '.join(str(error).split())}") from error
    if isinstance(content, dict) and (ours := {"path", "sha256"} & set(content)):
        raise UserError(f"{path}: unknown key {min(ours)!r}")
    try:
        policy = msgspec.convert(content, type=Policy, dec_hook=_named)
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


def _named(kind: type, value: object) -> object:
    """Read a text of a kind of its own; its ValueError becomes a message with the key's path."""
    if not isinstance(value, str):
        raise ValueError(f"Expected `str`, got `{type(value).__name__}`")
    return kind(value)


def _mended(message: str) -> str:
    """Turn msgspec's message into ours: the key's path first, and a hint where it is plain."""
    what, _, place = message.partition(" - at `")
    where = place.rstrip("`").removeprefix("$").removeprefix(".")
    what = what.replace("Object contains unknown field", "unknown key")
    what = what.replace("Object missing required field", "missing key").replace("`", "'")
    what = what.replace("Invalid RFC3339 encoded date", "not a date, such as 2027-03-31")
    hint = " (put it in quotes)" if what.startswith("Expected 'str', got") else ""
    return f"{where}: {what}{hint}" if where else f"{what}{hint}"


def _faults(policy: Policy, today: date) -> Iterator[tuple[str, str]]:
    """Yield what the types cannot say, as pairs of a key's path and what is wrong there."""
    seen: list[Acceptance] = []
    for number, each in enumerate(policy.safety.accepted):
        place = f"safety.accepted[{number}]"
        if (each.scenario is None) == (not each.invariants):
            yield place, "name a scenario, or invariants, and not both"
        if each.also and each.scenario is None:
            yield f"{place}.also", "goes with a scenario only"
        if each.until > today + LONGEST:
            fault = f"{each.until} is more than a year away: no end is no acceptance"
            yield f"{place}.until", fault
        alike = msgspec.structs.replace(each, reason="-", owner="-", until=date.max)
        if alike in seen:
            yield place, f"{each.name} is accepted twice for Airflow {each.airflow}"
        seen.append(alike)
    lists: dict[str, Sequence[str]] = {
        "completeness.scenarios": policy.completeness.scenarios,
        "completeness.labs": policy.completeness.labs,
        "completeness.versions": policy.completeness.versions,
        "oracle_health.known_bad": [bad.scenario for bad in policy.oracle_health.known_bad],
    }
    for place, names in lists.items():
        for name in sorted(name for name, times in Counter(names).items() if times > 1):
            yield place, f"{name!r} is named twice"
