"""Scenarios: one known or suspected race each, written in YAML with isolationtester's words.

A spec has a setup, sessions (names for processes), steps (one deed of one session each) and
permutations (orders of the steps). This module reads and checks specs; `scenarios.perform` runs
them.

    pause, resume      freeze a session between two transactions; let it go on
    freeze             freeze a session wherever it stands, with all the locks that it holds
    hold, release      hold a session in the statement that a scheduler locks its runs with, or in
                       another one of chaos.holds.rule.STATEMENTS (`statement: critical-section`)
    held, pass         wait until it is held there; let it pass once
    free               state that nothing disturbs a session from here on (oracle: queued-in-time)
    trigger            a DAG's run; a second one of a scenario has a name (`as: second`)
    until              wait for a run or for task instances; `of: second`, or `of: all` its runs
    wait               seconds
    settle             wait for the end of all runs

`setup` says what the lab must have: its DAGs' shapes, how many schedulers, and `settings`, sections
of Airflow's options as in airflow.cfg, for what would take too long by Airflow's defaults.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import yaml
from packaging.specifiers import SpecifierSet

from chaos.holds.rule import STATEMENTS
from common.errors import UserError
from oracle import old_names

_OF_A_SESSION = ("pause", "freeze", "resume", "free", "hold", "release", "held", "pass")
_VERBS = (*_OF_A_SESSION, "trigger", "until", "wait", "settle")
_OPTIONS = {"hold": {"statement"}, "trigger": {"as"}}
_POWERS = {"pause": "pause", "freeze": "pause", "hold": "hold"}
_PARTS = {
    "until": {"run", "task", "state", "count", "by", "of"},
    "settle": {"at_most", "after_violation"},
}


@dataclass(frozen=True)
class Step:
    """One deed: a verb and what it is done to."""

    name: str
    verb: str
    target: Any
    options: Mapping[str, Any] = field(default_factory=dict)


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
        verbs = (step.verb for steps in self.permutations.values() for step in steps)
        return tuple(sorted({_POWERS[verb] for verb in verbs if verb in _POWERS}))

    def affects(self, version: str) -> bool:
        """Tell whether a release is known to have this race."""
        return self.has.contains(version, prereleases=True)


def load(path: Path) -> Scenario:
    """Read one scenario; UserError with the file and what is wrong in it."""
    try:
        data = yaml.safe_load(path.read_text())
    except (OSError, yaml.YAMLError) as error:
        raise UserError(f"{path.name} cannot be read: {error}") from error
    try:
        return _scenario(data)
    except (KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{path.name} is not a valid scenario: {error!r}") from error
    except ValueError as error:
        raise UserError(f"{path.name} is not a valid scenario: {error}") from error


def load_all(folder: Path) -> dict[str, Scenario]:
    """Read every scenario of a folder, by name."""
    return {scenario.name: scenario for scenario in map(load, sorted(folder.glob("*.yaml")))}


def _scenario(data: dict[str, Any]) -> Scenario:
    sessions = dict(data["sessions"])
    steps = {name: _step(name, dict(what), sessions) for name, what in data["steps"].items()}
    permutations = {}
    for name, permutation in data["permutations"].items():
        unknown = [step for step in permutation["steps"] if step not in steps]
        if unknown:
            raise ValueError(f"permutation {name!r} names unknown steps: {', '.join(unknown)}")
        permutations[name] = tuple(steps[step] for step in permutation["steps"])
    unused = set(steps) - {step.name for each in permutations.values() for step in each}
    if unused:
        raise ValueError(f"no permutation uses the steps {', '.join(sorted(unused))}")
    setup = dict(data["setup"])
    written = {
        **data,
        **setup,
        "scenario": str(data["scenario"]),
        "settings": _settings(setup.get("settings", {})),
        "permutations": permutations,
    }
    return msgspec.convert(written, Scenario, dec_hook=lambda wanted, text: wanted(text))


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
    if verb in _OF_A_SESSION and target not in sessions:
        raise ValueError(f"step {name!r} names no session: {target!r}")
    if what.get("statement", "running-dag-runs") not in STATEMENTS:
        raise ValueError(f"step {name!r} names no statement of: {', '.join(STATEMENTS)}")
    if verb == "wait":
        target = float(target)
    if verb in _PARTS and (unknown := set(target) - _PARTS[verb]):
        raise ValueError(f"step {name!r} does not know {', '.join(sorted(unknown))}")
    return Step(name, verb, target, what)
