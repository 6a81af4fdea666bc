"""Scenarios: one known or suspected race each, written in YAML with isolationtester's words.

A spec has a setup, sessions (names for processes), steps (one deed of one session each) and
permutations (orders of the steps). `scenarios.steps` says what a step can be. This module reads and
checks specs; `scenarios.perform` runs them.

`setup` says what the lab must have: its DAGs' shapes, how many schedulers and triggerers, and
`settings`, sections of Airflow's options as in airflow.cfg, for what would take too long by
Airflow's defaults. Those that agree in triggerers and settings share a lab, which has the shapes of
all of them; those in which a process is killed share another. `sleep` is how long the tasks of the
runs that it triggers work, `pod_start` how long pods take to start on the embedded lab, in seconds.

A permutation with `meanwhile: true` does what the scenario's `meanwhile` says, with `settings` of
its own where that says to set something. It is for releases that have the race: it must keep away.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args, get_type_hints

import msgspec
from packaging.specifiers import InvalidSpecifier, SpecifierSet

from common.errors import UserError
from dags.shapes import dags
from lab.environments.settings import fixed, option_of, variable
from oracle.events import AnswerEvent
from oracle.invariants import INVARIANTS
from oracle.invariants.legal_transition import LegalTransition
from oracle.states import FINISHED, IN_HAND, WAITING, shown
from scenarios.document import at, line_in, line_of, mapping, read
from scenarios.order import check_order
from scenarios.steps import Cast, Step, step
from scenarios.words import check_keys, flow, known

Severity = Literal["high", "medium", "low"]
"""What a race does to whom it strikes: high is work that is lost, done twice or recorded wrongly,
with nobody told; medium is work that is late, or done twice where that is seen; low is noise."""


class Scenario(msgspec.Struct, frozen=True, kw_only=True, rename={"name": "scenario"}):
    """One race, as its YAML file tells it; `settings` by the names of environment variables.

    `lines` are those of the file in which its settings stand, by the same names.

    `breaks` are the invariants that show the race, `follows` those that may break in its wake and
    show nothing by themselves; `meanwhile` is what a user can do on a release that has it. `needs`
    are the releases that have what it is about, as draining: on others it cannot be performed. So
    it is with a permutation of which `only` names the releases: others send other statements, say.
    `tried` are the permutations that do what `meanwhile` says, each with settings of its own.
    `transitions` are those by which it breaks legal-transition, as violations tell them
    ("SUCCESS -> QUEUED"): one of another kind is another race. Where `reuse` is false, what it does
    to its lab goes on after it, and the lab boots again for who comes next.
    """

    name: str
    title: str
    issue: str
    by_design: bool = False
    has: SpecifierSet
    needs: SpecifierSet = SpecifierSet()
    breaks: frozenset[str]
    follows: frozenset[str] = frozenset()
    transitions: tuple[str, ...] = ()
    because: str
    severity: Severity
    meanwhile: str
    shapes: str
    sleep: float = 0.0
    pod_start: float = 0.0
    schedulers: int
    triggerers: int = 0
    reuse: bool = True
    settings: dict[str, str]
    lines: dict[str, int] = {}
    sessions: dict[str, str]
    permutations: dict[str, tuple[Step, ...]]
    only: dict[str, SpecifierSet] = {}
    tried: dict[str, dict[str, str]] = {}

    @property
    def forcing(self) -> dict[str, tuple[Step, ...]]:
        """Return the permutations that force the race."""
        return {name: steps for name, steps in self.permutations.items() if name not in self.tried}

    def settings_of(self, permutation: str) -> dict[str, str]:
        """Return the settings that a permutation needs."""
        return {**self.settings, **self.tried.get(permutation, {})}

    @property
    def powers(self) -> tuple[str, ...]:
        """Return what a lab must be able to do for its steps."""
        steps = (step for steps in self.permutations.values() for step in steps)
        return tuple(sorted({power for step in steps for power in step.powers}))

    @property
    def evidence(self) -> tuple[str, ...]:
        """Return what a lab must be able to do for its race to be seen: record workers' answers,
        where it breaks no promise but of those."""
        by_answers = all(_PROMISES[each].evidence is AnswerEvent for each in self.breaks)
        return ("worker-requests",) if by_answers else ()

    def place_of(self, setting: str) -> str:
        """Return where a setting stands: the file, the line and the option."""
        return f"{self.name}.yaml, line {self.lines[setting]}: {option_of(setting)}"

    def affects(self, version: str) -> bool:
        """Tell whether a release is known to have this race."""
        return self.has.contains(version, prereleases=True)

    def can_be_in(self, version: str) -> bool:
        """Tell whether a release has what this race is about."""
        return self.needs.contains(version, prereleases=True)

    def why_not(self, permutation: str, version: str) -> str | None:
        """Say why a permutation cannot be performed on a release; None where it can."""
        if not self.can_be_in(version):
            return f"scenario {self.name} is about what Airflow {self.needs} has"
        only = self.only.get(permutation)
        if only is not None and not only.contains(version, prereleases=True):
            return f"scenario {self.name}: its permutation {permutation} is for Airflow {only}"
        if permutation in self.tried and not self.affects(version):
            return f"scenario {self.name}: {permutation} helps those who have the race: {self.has}"
        return None


_PERMUTATION = ("steps", "needs", "meanwhile", "settings")
_SETUP = ("shapes", "sleep", "pod_start", "schedulers", "triggerers", "reuse", "settings")
_OPTIONAL = (
    *("by_design", "needs", "follows", "transitions"),
    *("sleep", "pod_start", "triggerers", "reuse", "settings"),
)
_TOP = (
    *(
        "scenario",
        "title",
        "issue",
        "has",
        "needs",
        "by_design",
        "breaks",
        "follows",
        "transitions",
    ),
    *("because", "severity", "meanwhile", "setup", "sessions", "steps", "permutations"),
)
_PARTS = ("setup", "sessions", "steps", "permutations")
_PROMISES = {each.name: each for each in INVARIANTS}
_KINDS: Mapping[Any, str] = {
    str: "text",
    bool: "true or false",
    int: "a whole number",
    float: "seconds",
    frozenset[str]: "a list of invariants",
    tuple[str, ...]: "a list of transitions, as 'SUCCESS -> QUEUED'",
    SpecifierSet: "a text, the releases, as in '>=3.0.0,<3.2.0'",
}
_TYPES = get_type_hints(Scenario)
_MOST = 20
"""Schedulers or triggerers that a session can be one of."""
_NAMES = {"breaks": "name one that can show the race", "follows": "leave the key out"}
_LEAST = {"schedulers": 1, "triggerers": 0, "sleep": 0, "pod_start": 0}


def load(path: Path) -> Scenario:
    """Read one scenario; UserError with the file, the line, and what is wrong there."""
    try:
        return _scenario(read(path), path.stem)
    except ValueError as error:
        line = line_in(error)
        where = f"{path.name}, line {line}" if line else path.name
        raise UserError(f"{where}: not a valid scenario: {error}") from error


def load_all(folder: Path) -> dict[str, Scenario]:
    """Read every scenario of a folder, by name, which is also its file's: no two have the same."""
    return {scenario.name: scenario for scenario in map(load, sorted(folder.glob("*.yaml")))}


def _scenario(data: Any, stem: str) -> Scenario:
    top = mapping(data, "a scenario")
    _check_keys(top, _TOP, "a scenario")
    name = top["scenario"] if isinstance(top["scenario"], str) else flow(top["scenario"])
    if name != stem:
        with at(top, "scenario"):
            raise ValueError(f"the scenario {name} stands in {stem}.yaml; name one as the other")
    with at(top, "setup"):
        setup = mapping(top["setup"], "setup")
        _check_keys(setup, _SETUP, "setup")
    values = {each: _value(top, each) for each in top if each not in ("scenario", *_PARTS)}
    values |= {each: _value(setup, each) for each in setup if each != "settings"}
    with at(setup, "settings"):
        settings, lines = _settings(setup.get("settings") or {})
    with at(top, "transitions" if "transitions" in top else "breaks"):
        _check_transitions(values["breaks"], values.get("transitions", ()))
    cast = _cast(top, setup)
    written = _permutations(top, _steps(top, cast), cast)
    return Scenario(
        name=name,
        **values,
        settings=settings,
        lines={**written.lines, **lines},
        sessions=dict(cast.sessions),
        permutations=written.steps,
        only=written.only,
        tried=written.tried,
    )


def _check_transitions(breaks: frozenset[str], transitions: tuple[str, ...]) -> None:
    """Raise ValueError where several races could be meant, or something that no violation says."""
    name = LegalTransition.name
    if name in breaks and not transitions:
        raise ValueError(f"breaks names {name}: add its `transitions: [SUCCESS -> QUEUED]`, say")
    if transitions and name not in breaks:
        raise ValueError(f"transitions are of {name}, which is none of those in breaks")
    states = {shown(state) for state in (*FINISHED, *WAITING, *IN_HAND, None)}
    for each in transitions:
        parts = each.split(" -> ")
        if len(parts) != 2:
            raise ValueError(f"{each!r} is no transition; write it as SUCCESS -> QUEUED")
        for state in parts:
            known(state, dict.fromkeys(sorted(states)), f"the transition {each!r} has no state")


def _check_keys(written: Mapping[str, Any], there: tuple[str, ...], whose: str) -> None:
    """Raise ValueError for a key that there is not, and for one that there must be."""
    for key in written:
        with at(written, key):
            check_keys([key], there, f"{whose} does not know")
    if missing := [each for each in there if each not in written and each not in _OPTIONAL]:
        raise ValueError(f"{whose} lacks {', '.join(missing)}")


def _value(written: Mapping[str, Any], key: str) -> Any:
    """Return the value of a key of a scenario as its field has it."""
    wanted, value = _TYPES[key], written[key]
    with at(written, key):
        if value in (None, ""):
            raise ValueError(f"{key} is empty; it must be {_KINDS.get(wanted, 'text')}")
        if wanted == Severity:
            known(value, dict.fromkeys(get_args(Severity)), "there is no such severity")
        try:
            made = msgspec.convert(value, wanted, dec_hook=_made_of_text)
        except (msgspec.ValidationError, InvalidSpecifier, AttributeError) as error:
            raise ValueError(f"{key} must be {_KINDS[wanted]}, not {flow(value)}") from error
        if key in _LEAST and not _LEAST[key] <= made < math.inf:
            raise ValueError(f"{key} must be {_LEAST[key]} or more, not {flow(value)}")
        if key in ("breaks", "follows"):
            if not made:
                raise ValueError(f"{key} names no invariant; {_NAMES[key]}")
            for name in value:
                known(name, _PROMISES, f"{key} names no invariant of the oracle")
    return made


def _made_of_text(kind: type[Any], text: Any) -> Any:
    """Make what msgspec does not know of a text."""
    if not isinstance(text, str):
        raise ValueError(f"{kind.__name__} is made of a text")
    return kind(text)


def _cast(top: Mapping[str, Any], setup: Mapping[str, Any]) -> Cast:
    with at(setup, "shapes"):
        made = dags(setup["shapes"])
    with at(top, "sessions"):
        sessions = mapping(top["sessions"], "sessions")
    roles = ["api-server", "dag-processor"]
    for role in ("scheduler", "triggerer"):
        roles += [f"{role}-{n}" for n in range(1, min(setup.get(f"{role}s", 0), _MOST) + 1)]
    for name, role in sessions.items():
        with at(sessions, name):
            known(role, dict.fromkeys(roles), f"session {name} is no process of the setup")
    return Cast(sessions, made)


def _steps(top: Mapping[str, Any], cast: Cast) -> dict[str, Step]:
    with at(top, "steps"):
        written = mapping(top["steps"], "steps")
    steps = {}
    for name, what in written.items():
        with at(written, name):
            steps[name] = replace(step(name, what, cast), line=line_of(written, name))
    return steps


class _Permutations(NamedTuple):
    """Permutations as they are written, by their names; see `Scenario`."""

    steps: dict[str, tuple[Step, ...]]
    only: dict[str, SpecifierSet]
    tried: dict[str, dict[str, str]]
    lines: dict[str, int]


def _permutations(top: Mapping[str, Any], steps: Mapping[str, Step], cast: Cast) -> _Permutations:
    with at(top, "permutations"):
        written = mapping(top["permutations"], "permutations")
    found = _Permutations({}, {}, {}, {})
    for name, form in written.items():
        with at(written, name):
            permutation = mapping(form, f"permutation {name!r}")
            check_keys(permutation, _PERMUTATION, f"permutation {name!r} does not know")
            found.steps[name] = _order(name, permutation.get("steps"), steps)
            check_order(found.steps[name], cast.sessions, cast.dags)
        if "needs" in permutation:
            found.only[name] = _value(permutation, "needs")
        _add_tried(found, name, permutation)
    with at(top, "permutations"):
        if not found.steps.keys() - found.tried.keys():
            raise ValueError("each permutation has `meanwhile`; one must force the race")
    _check_used(top, steps, [each for one in found.steps.values() for each in one])
    return found


def _add_tried(found: _Permutations, name: str, permutation: Mapping[str, Any]) -> None:
    """Take up what a permutation says of `meanwhile`."""
    if "meanwhile" in permutation and permutation["meanwhile"] is not True:
        with at(permutation, "meanwhile"):
            raise ValueError("meanwhile is true, or left out")
    with at(permutation, "settings"):
        settings, lines = _settings(permutation.get("settings") or {})
        if settings and "meanwhile" not in permutation:
            raise ValueError("settings are of the setup, or of a permutation with meanwhile: true")
    if "meanwhile" in permutation:
        found.tried[name] = settings
        found.lines.update(lines)


def _check_used(top: Mapping[str, Any], steps: Mapping[str, Step], every: Sequence[Step]) -> None:
    """Raise ValueError for what no permutation makes use of."""
    if top["setup"].get("sleep") and not any(each.verb == "trigger" for each in every):
        with at(top["setup"], "sleep"):
            raise ValueError("sleep is of runs that a step triggers, and none does; leave it out")
    used = {each.name for each in every}
    for unused in [each for each in steps if each not in used]:
        with at(top["steps"], unused):
            raise ValueError(f"no permutation uses the step {unused}")


def _order(name: str, names: Any, steps: Mapping[str, Step]) -> tuple[Step, ...]:
    if not isinstance(names, list) or not names:
        raise ValueError(f"permutation {name!r}: steps must be a list of steps, not {flow(names)}")
    complaint = f"permutation {name!r} names an unknown step"
    return tuple(known(each, steps, complaint) for each in names)


def _settings(sections: Any) -> tuple[dict[str, str], dict[str, int]]:
    """Return Airflow's options by the environment variables that set them, and their lines."""
    settings, lines = {}, {}
    for section, options in (mapping(sections, "settings") if sections else {}).items():
        with at(sections, section):
            written = mapping(options, f"the section {section} of settings")
        for option, value in written.items():
            name = variable(section, option)
            with at(written, option):
                settings[name] = _setting(name, value)
            lines[name] = line_of(written, option)
    return settings, lines


def _setting(name: str, value: Any) -> str:
    """Return the value of an option; ValueError for what is none, and for what the lab decides."""
    if not isinstance(value, str | int | float):
        raise ValueError(f"the setting {option_of(name)} must be text or a number")
    if why := fixed(name):
        raise ValueError(f"the setting {option_of(name)}: {why}; leave it out")
    return str(value)
