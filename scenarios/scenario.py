"""Scenarios: one known or suspected race each, written in YAML with isolationtester's words.

A spec has a setup, sessions (names for processes), steps (one deed of one session each) and
permutations (orders of the steps). This module reads and checks specs; `scenarios.perform` runs
them.

    pause, resume      freeze a session between two transactions; let it go on
    freeze             freeze a session wherever it stands, with all the locks that it holds
    hold, release      hold a session at a point, and let it go on. The point is the statement that
                       a scheduler locks its runs with; another of chaos.holds.points.STATEMENTS
                       (`statement: dag-by-id`, with its values: `with: {dag: x}`); or where it
                       commits what it wrote into a table (`commit: dag_run`), a row that has some
                       values (`row: {state: running}`); or its request to the Kubernetes API
                       (`request: create`), `when: before` it is processed or `after`, of `pods` by
                       name (`pods: dag-*`) or by `labels`
    held, pass         wait until it is held there; let it pass once
    cancel, terminate  have what it is held in fail; have its connection closed
    fault, heal        begin any fault of chaos/ by its name (`fault: pod-answer-lost, on: A`, with
                       its values: `with: {request: create}`); end it, once it has struck
    free               state that nothing disturbs a session from here on (oracle: queued-in-time)
    trigger            a DAG's run; a second one of a scenario has a name (`as: second`)
    update             an asset, by an event from outside of Airflow
    until              wait for runs or for task instances; `of: second`, or `of: all` its runs
    wait               seconds
    settle             wait for the end of all runs

`setup` says what the lab must have: its DAGs' shapes, how many schedulers, and `settings`, sections
of Airflow's options as in airflow.cfg, for what would take too long by Airflow's defaults.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import yaml
from packaging.specifiers import SpecifierSet

from chaos import named
from chaos.base import Fault
from chaos.holds.points import STATEMENTS
from chaos.holds.request import RequestPoint
from chaos.kube_api import KubeApiFault
from common.errors import UserError
from oracle import old_names

_OF_A_SESSION = (
    *("pause", "freeze", "resume", "free", "hold", "release", "held", "pass"),
    *("cancel", "terminate"),
)
_VERBS = (*_OF_A_SESSION, "fault", "heal", "trigger", "update", "until", "wait", "settle")
_OF_A_REQUEST = frozenset({"request", "when", "pods", "labels"})
_OPTIONS = {
    "hold": {"statement", "with", "commit", "row", *_OF_A_REQUEST},
    "fault": {"on", "with"},
    "heal": {"on"},
    "trigger": {"as"},
}
_POWERS = {"pause": "pause", "freeze": "pause", "hold": "hold"}
_PARTS = {
    "until": {"run", "task", "state", "count", "by", "of"},
    "settle": {"at_most", "after_violation"},
}


@dataclass(frozen=True)
class Step:
    """One deed: a verb and what it is done to: a session, a DAG, or the fault itself."""

    name: str
    verb: str
    target: Any
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def powers(self) -> Sequence[str]:
        """Return what a lab must be able to do for it."""
        if isinstance(self.target, Fault):
            return self.target.needs
        if self.verb == "hold" and "request" in self.options:
            return KubeApiFault.powers
        return [_POWERS[self.verb]] if self.verb in _POWERS else []


class Scenario(msgspec.Struct, frozen=True, kw_only=True, rename={"name": "scenario"}):
    """One race, as its YAML file tells it; `settings` by the names of environment variables."""

    name: str
    title: str
    issue: str
    by_design: bool = False
    has: SpecifierSet
    breaks: frozenset[str]
    because: str
    shapes: str
    sleep: float = 0.0
    pod_start: float = 0.0
    schedulers: int
    settings: dict[str, str]
    sessions: dict[str, str]
    permutations: dict[str, tuple[Step, ...]]

    @property
    def powers(self) -> tuple[str, ...]:
        """Return what a lab must be able to do for its steps."""
        steps = (step for steps in self.permutations.values() for step in steps)
        return tuple(sorted({power for step in steps for power in step.powers}))

    def affects(self, version: str) -> bool:
        """Tell whether a release is known to have this race."""
        return self.has.contains(version, prereleases=True)


class _Mistake(ValueError):
    """A scenario says what cannot be; `line` is where, 0 for where nobody knows."""

    def __init__(self, message: str, line: int = 0) -> None:
        super().__init__(message)
        self.line = line


class _Mapping(dict[str, Any]):
    """A mapping of a YAML file that knows the lines of its keys, counted from 1."""

    lines: Mapping[str, int]


class _Loader(yaml.SafeLoader):
    """Reads mappings with their lines."""


def _mapping(loader: _Loader, node: yaml.MappingNode) -> Iterator[_Mapping]:
    made = _Mapping()
    yield made
    # By its text: YAML takes the key `on` for true.
    values = loader.construct_mapping(node)
    made.update({str(key.value): values[loader.construct_object(key)] for key, _ in node.value})
    made.lines = {str(key.value): key.start_mark.line + 1 for key, _ in node.value}


_Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)


@contextmanager
def _at(mapping: Mapping[str, Any], key: str) -> Iterator[None]:
    """Give a mistake that is made with a key that key's line, unless it has its own."""
    try:
        yield
    except (UserError, ValueError, KeyError, TypeError, AttributeError) as error:
        if isinstance(error, _Mistake) and error.line:
            raise
        told = isinstance(error, UserError | ValueError)
        text = str(error) if told else f"{key!r} is of another shape"
        raise _Mistake(text, getattr(mapping, "lines", {}).get(key, 0)) from error


def load(path: Path) -> Scenario:
    """Read one scenario; UserError with the file, the line, and what is wrong there."""
    try:
        data = yaml.load(path.read_text(), _Loader)
    except (OSError, yaml.YAMLError) as error:
        raise UserError(f"{path.name} cannot be read: {error}") from error
    try:
        return _scenario(data)
    except _Mistake as error:
        where = f"{path.name}, line {error.line}" if error.line else path.name
        raise UserError(f"{where}: not a valid scenario: {error}") from error
    except (KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{path.name} is not a valid scenario: {error!r}") from error
    except ValueError as error:
        raise UserError(f"{path.name} is not a valid scenario: {error}") from error


def load_all(folder: Path) -> dict[str, Scenario]:
    """Read every scenario of a folder, by name."""
    return {scenario.name: scenario for scenario in map(load, sorted(folder.glob("*.yaml")))}


def _scenario(data: dict[str, Any]) -> Scenario:
    sessions = dict(data["sessions"])
    steps = {}
    for name, what in data["steps"].items():
        with _at(data["steps"], name):
            steps[name] = _step(name, dict(what), sessions)
    permutations = {}
    for name, permutation in data["permutations"].items():
        with _at(data["permutations"], name):
            permutations[name] = tuple(
                _known(step, steps, f"permutation {name!r} names an unknown step")
                for step in permutation["steps"]
            )
            _check_heals(permutations[name])
    for step in set(steps) - {step.name for each in permutations.values() for step in each}:
        with _at(data["steps"], step):
            raise ValueError(f"no permutation uses the step {step}")
    setup = dict(data["setup"])
    written = {
        **data,
        **setup,
        "scenario": str(data["scenario"]),
        "settings": _settings(setup.get("settings", {})),
        "permutations": permutations,
    }
    return msgspec.convert(written, Scenario, dec_hook=lambda wanted, text: wanted(text))


T = TypeVar("T")


def _known(name: str, known: Mapping[str, T], complaint: str) -> T:
    """Return what has a name; ValueError with the nearest name there is."""
    if name in known:
        return known[name]
    near = get_close_matches(str(name), known, 1)
    hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(known)}"
    raise ValueError(f"{complaint}: {name} ({hint})")


def _settings(sections: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """Return Airflow's options under the names by which environment variables set them."""
    settings = {}
    for section, options in sections.items():
        for option, value in options.items():
            if not isinstance(value, str | int | float):
                raise ValueError(f"the setting {section}.{option} must be text or a number")
            settings[f"AIRFLOW__{section}__{option}".upper()] = str(value)
    return settings


def _step(name: str, written: dict[str, Any], sessions: Mapping[str, str]) -> Step:
    what = {old_names.STEPS.get(word, word): value for word, value in written.items()}
    verbs = [verb for verb in what if verb in _VERBS]
    if len(verbs) != 1:
        raise ValueError(f"step {name!r} needs exactly one of: {', '.join(_VERBS)}")
    verb = verbs[0]
    target = what.pop(verb)
    if unknown := set(what) - _OPTIONS.get(verb, set()):
        raise ValueError(f"step {name!r} does not know {', '.join(sorted(unknown))}")
    if verb in _OF_A_SESSION:
        _known(target, sessions, f"step {name!r} names no session")
    if "on" in what:
        _known(what["on"], sessions, f"step {name!r} names no session")
    if verb == "fault":
        target = named.fault(target, sessions.get(what.get("on", "")), what.get("with"))
    if verb == "hold":
        _check_hold(name, what)
    if verb == "wait":
        target = float(target)
    if verb in _PARTS and (unknown := set(target) - _PARTS[verb]):
        raise ValueError(f"step {name!r} does not know {', '.join(sorted(unknown))}")
    return Step(name, verb, target, what)


def _check_heals(steps: Iterable[Step]) -> None:
    """Raise ValueError where a fault is healed that no step before has begun."""
    begun = set()
    for step in steps:
        if step.verb == "fault":
            begun.add((step.target.name, step.options.get("on")))
        elif step.verb == "heal" and (step.target, step.options.get("on")) not in begun:
            raise ValueError(f"step {step.name!r} heals what no step before it has begun")


def _check_hold(step: str, what: Mapping[str, Any]) -> None:
    """Raise ValueError where a point is named twice, by no name, or by values that it lacks."""
    if of_a_request := sorted(_OF_A_REQUEST & what.keys()):
        if "request" not in what or what.keys() - _OF_A_REQUEST:
            raise ValueError(f"step {step!r}: {', '.join(of_a_request)} is of a request alone")
        RequestPoint(**what)
        return
    if "commit" in what and ("statement" in what or "with" in what):
        raise ValueError(f"step {step!r} is either of a statement or of a commit")
    if "row" in what and "commit" not in what:
        raise ValueError(f"step {step!r} has a row of no commit")
    if "commit" in what:
        return
    name = what.get("statement", "running-dag-runs")
    statement = _known(name, STATEMENTS, f"step {step!r} names an unknown statement")
    if set(what.get("with", {})) != set(statement.values):
        wanted = ", ".join(statement.values) or "no values"
        raise ValueError(f"step {step!r}: the statement {name} takes {wanted} (`with:`)")
