"""Scenarios: one known or suspected race each, written in YAML with isolationtester's words.

A spec has a setup, sessions (names for processes), steps (one deed of one session each) and
permutations (orders of the steps). `scenarios.steps` says what a step can be. This module reads and
checks specs; `scenarios.perform` runs them.

`setup` says what the lab must have: its DAGs' shapes, how many schedulers and triggerers, and
`settings`, sections of Airflow's options as in airflow.cfg, for what would take too long by
Airflow's defaults.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import msgspec
import yaml
from packaging.specifiers import SpecifierSet

from common.errors import UserError
from scenarios.steps import Step, check_heals, known, step

Severity = Literal["high", "medium", "low"]
"""What a race does to whom it strikes: high is work that is lost, done twice or recorded wrongly,
with nobody told; medium is work that is late, or done twice where that is seen; low is noise."""


class Scenario(msgspec.Struct, frozen=True, kw_only=True, rename={"name": "scenario"}):
    """One race, as its YAML file tells it; `settings` by the names of environment variables.

    `meanwhile` is what a user can do on a release that has it.
    """

    name: str
    title: str
    issue: str
    by_design: bool = False
    has: SpecifierSet
    breaks: frozenset[str]
    because: str
    severity: Severity
    meanwhile: str
    shapes: str
    sleep: float = 0.0
    pod_start: float = 0.0
    schedulers: int
    triggerers: int = 0
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
            steps[name] = step(name, what, sessions)
    permutations = {}
    for name, permutation in data["permutations"].items():
        with _at(data["permutations"], name):
            permutations[name] = tuple(
                known(each, steps, f"permutation {name!r} names an unknown step")
                for each in permutation["steps"]
            )
            check_heals(permutations[name])
    for unused in set(steps) - {each.name for one in permutations.values() for each in one}:
        with _at(data["steps"], unused):
            raise ValueError(f"no permutation uses the step {unused}")
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
