"""What a test's markers ask for."""

import functools
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import pytest

from chaos.base import Fault
from common.errors import UserError
from explore.plan import WORLDS, defers, environment
from harness.labs import Wants, wanted_lab
from harness.options import SUITES, Options
from harness.outcome import KnownRace
from lab.environments.request import describe
from lab.environments.settings import option_of
from lab.kind.lab import LAYERS
from lab.spec import LabSpec
from load.profiles import Profile, profile
from scenarios.scenario import Scenario, load_all


@functools.cache
def scenarios() -> Mapping[str, Scenario]:
    """Return all scenarios of the suites, by name; every collected test asks for them."""
    return MappingProxyType(load_all(SUITES / "scenarios"))


def check_scenarios() -> None:
    """Have all scenarios at hand; UsageError for the first that is none, before any test asks."""
    try:
        scenarios()
    except UserError as error:
        raise pytest.UsageError(str(error)) from error


def scenario_of(item: pytest.Item) -> Scenario:
    """Return the scenario that a test is marked with; UsageError when there is none of the name."""
    marker = item.get_closest_marker("scenario")
    name = str(marker.args[0]) if marker and marker.args else ""
    known = scenarios()
    if name not in known:
        raise pytest.UsageError(
            f"{item.nodeid}: there is no scenario {name!r}; there are: {', '.join(known)}"
        )
    return known[name]


def params_of(item: pytest.Item) -> Mapping[str, Any]:
    """Return what a test is parametrized with, by name; nothing where it is not."""
    return getattr(getattr(item, "callspec", None), "params", {})


def permutation_of(item: pytest.Item) -> str:
    """Return which of its scenario's permutations a test performs; empty where it performs none."""
    return str(params_of(item).get("permutation", ""))


def scenario_cases(definition: pytest.Item) -> dict[str, Any]:
    """Return how a scenario test is parametrized: its permutations, with ids to choose them by."""
    scenario = scenario_of(definition)
    tries = pytest.mark.meanwhile, pytest.mark.depth("nightly")
    cases = [
        pytest.param(name, id=f"{scenario.name}-{name}", marks=tries * (name in scenario.tried))
        for name in scenario.permutations
    ]
    return {"argvalues": cases}


def known_race(item: pytest.Item) -> KnownRace | None:
    """Return the known race that a test meets, by its markers `scenario` or `issue`.

    Who does what helps against a race does not meet it: if it shows itself, that is news.
    """
    if item.get_closest_marker("meanwhile"):
        return None
    if item.get_closest_marker("scenario"):
        return KnownRace(scenario_of(item))
    marker = item.get_closest_marker("issue")
    scenario = scenarios().get(str(marker.args[0])) if marker else None
    return KnownRace(scenario, marker.kwargs.get("shows", True)) if marker and scenario else None


def world_of(item: pytest.Item) -> Mapping[str, str]:
    """Return the settings that a test explores with; UsageError when it names none."""
    marker = item.get_closest_marker("explore")
    name = str(marker.args[0]) if marker and marker.args else ""
    if name not in WORLDS:
        raise pytest.UsageError(
            f"{item.nodeid}: there is no world {name!r} to explore; there are: {', '.join(WORLDS)}"
        )
    return WORLDS[name]


def flood_profile(item: pytest.Item) -> Profile:
    """Return the profile that a test floods with; UsageError when it names none."""
    marker = item.get_closest_marker("flood")
    try:
        return profile(marker.args[0] if marker else "")
    except UserError as error:
        raise pytest.UsageError(f"{item.nodeid}: {error}") from error


def flood_of(item: pytest.Item, options: Options) -> Profile:
    """Return the profile that a test floods with, of the user's DAGs where they are given."""
    found = flood_profile(item)
    return found.of_dags(options.flood_dags) if options.dags else found


def dags_line(options: Options) -> list[str]:
    """Say which of a user's DAGs are flooded, and that it is their code that runs."""
    if not options.dags:
        return []
    names = ", ".join(options.flood_dags) or "all of its DAGs"
    return [f"dags: {options.dags}: {names}; their own code runs, on this machine"]


def leave_to_own_dags(config: pytest.Config, items: list[pytest.Item], options: Options) -> None:
    """Deselect, where a user's DAGs are flooded, the tests that have DAGs of their own."""
    others = [item for item in items if options.dags and not item.get_closest_marker("flood")]
    if others:
        config.hook.pytest_deselected(items=others)
        items[:] = [item for item in items if item not in others]


def lab_spec(item: pytest.Item, airflow: str, options: Options) -> LabSpec:
    """Return the lab that a test's markers ask for, with this Airflow at hand."""
    return wanted_lab(airflow, options, lab_wants(item, airflow, options))


def lab_after_lab(items: list[pytest.Item], options: Options) -> None:
    """Put the tests that share a lab one after the other: another takes longer than most tests.

    Those that load the machine come last, for few of them are at work at a time: who waits for its
    turn keeps others from running. Who leaves a lab that must boot again is its last.
    """
    places: dict[object, int] = {}

    def place(item: pytest.Item) -> tuple[bool, int, bool]:
        airflow = params_of(item).get("lab")
        try:
            key = repr(airflow and lab_wants(item, airflow, options))
            spoils = not leaves_lab_usable(item)
        except (UserError, pytest.UsageError):  # the test says it
            key, spoils = item.nodeid, False
        return loads_machine(item), places.setdefault((airflow, key), len(places)), spoils

    items.sort(key=place)


def lab_wants(item: pytest.Item, airflow: str, options: Options) -> Wants:
    """Return what a test's markers ask of its lab.

    Where processes are killed and start again, the question is about the processes themselves, so
    these are started as a deployment starts them. A frozen one is frozen by the kernel alone.
    """
    cold = "kill" in _powers(item)
    if item.get_closest_marker("scenario"):
        scenario = scenario_of(item)
        if options.schedulers < scenario.schedulers:
            raise UserError(
                f"Scenario {scenario.name} needs {scenario.schedulers} schedulers.",
                f"Give --schedulers {scenario.schedulers} or more.",
            )
        settings = scenario.settings_of(permutation_of(item))
        env = {
            "HA_CHAOS_SHAPES": shared_shapes(scenario, settings, version_of(airflow, options)),
            **options.settings,
            **settings,
        }
        return Wants(env, cold=cold, triggerers=scenario.triggerers)
    if item.get_closest_marker("explore"):
        world = world_of(item)
        env = {**options.settings, **environment(world)}
        real = defers(world)
        return Wants(env, simulated=not real, triggerers=int(real))
    flood = flood_of(item, options) if item.get_closest_marker("flood") else None
    layers = tuple(layer for power, layer in LAYERS.items() if power in _powers(item))
    return Wants(
        {**(flood.environment() if flood else {}), **options.settings},
        simulated=flood is not None and not flood.work,
        cold=cold,
        triggerers=max(_triggerers(item), flood.triggerers if flood else 0),
        layers=layers,
    )


def version_of(airflow: str, options: Options) -> str:
    """Return the version of an Airflow at hand; a deployment says its own."""
    return options.cluster.version if options.cluster else _version(airflow)


@functools.cache
def _version(airflow: str) -> str:
    """Ask once what an Airflow is: to ask a Python takes a process, and every scenario wants it."""
    return describe(airflow).version


def shared_shapes(scenario: Scenario, settings: Mapping[str, str], version: str) -> str:
    """Return the shapes of all scenarios of a release that can share a lab of these settings.

    A boot takes longer than most scenarios. What each needs of its runs goes with them, so labs
    differ only in Airflow's settings, in how many triggerers there are, and in whether processes
    start cold.
    """
    mates = [
        each
        for each in scenarios().values()
        if each.can_be_in(version)
        and (each.settings, each.triggerers) == (settings, scenario.triggerers)
    ]
    shapes = (shape.strip() for each in (scenario, *mates) for shape in each.shapes.split(","))
    return ",".join(sorted(set(shapes)))


def keep_their_own(name: str, value: str) -> list[str]:
    """Return who sets an Airflow option to another value, and keeps that whatever `--set` says.

    A race, or an exploration, needs what it sets; a flood gives way.
    """
    worlds = {f"exploration {world}": environment(env) for world, env in WORLDS.items()}
    own = {**{each.name: each.settings for each in scenarios().values()}, **worlds}
    return [who for who, settings in own.items() if settings.get(name, value) != value]


def settings_lines(settings: Mapping[str, str]) -> list[str]:
    """Say in a line each what `--set` sets, and who keeps a value of its own."""
    lines = []
    for name, value in settings.items():
        own = keep_their_own(name, value)
        kept = f" (not in {', '.join(own)}: set there otherwise)" if own else ""
        lines.append(f"set: {option_of(name)}={value}{kept}")
    return lines


def _triggerers(item: pytest.Item) -> int:
    """Return how many triggerers there must be for the faults that a test declares."""
    names = (fault.process.rpartition("-") for fault in declared_faults(item))
    return max((int(number) for role, _, number in names if role == "triggerer"), default=0)


def declared_faults(item: pytest.Item) -> list[Fault[Any]]:
    """Return the faults that a test's markers declare; UsageError for what is none."""
    found = [fault for marker in item.iter_markers("fault") for fault in marker.args]
    for fault in found:
        if not isinstance(fault, Fault):
            raise pytest.UsageError(f"{item.nodeid}: {fault!r} is not a fault.")
    return found


def missing(item: pytest.Item, ask: Callable[[str], str | None]) -> str | None:
    """Say what a test needs that its lab cannot do, None when it can do all of it.

    `ask` is the lab's own `missing`, or, before there is a lab, that of its kind.
    """
    for power, who in _powers(item).items():
        if reason := ask(power):
            return f"{who}: {reason}"
    return None


def why_not(item: pytest.Item, version: str) -> str | None:
    """Say why a test's scenario cannot be performed on an Airflow, None where it can."""
    if not item.get_closest_marker("scenario"):
        return None
    return scenario_of(item).why_not(permutation_of(item), version)


def _powers(item: pytest.Item) -> dict[str, str]:
    """Return the powers that a test needs, each with what needs it."""
    found = {
        power: f"needs {power}" for marker in item.iter_markers("needs") for power in marker.args
    }
    if item.get_closest_marker("explore"):
        found["explore"] = "an exploration needs simulated workers"
    for fault in declared_faults(item):
        found |= dict.fromkeys(fault.needs, f"{fault.name} is not available")
    if item.get_closest_marker("scenario"):
        scenario = scenario_of(item)
        needed = (*scenario.powers, *scenario.evidence)
        found |= dict.fromkeys(needed, f"scenario {scenario.name} is not available")
    return found


def wants_cluster_alone(item: pytest.Item) -> bool:
    """Tell whether a test disturbs more than its own lab: it then gets the cluster for itself."""
    scopes = {fault.scope for fault in declared_faults(item)}
    return "cluster" in scopes or "node" in _powers(item)


def loads_machine(item: pytest.Item) -> bool:
    """Tell whether a test works all the time: it floods its lab, or explores it."""
    return any(item.get_closest_marker(name) for name in ("flood", "explore"))


def leaves_lab_usable(item: pytest.Item) -> bool:
    """Tell whether a test's lab can be cleaned of what the test does to it."""
    return not item.get_closest_marker("scenario") or scenario_of(item).reuse


def keeps_machine_busy(item: pytest.Item) -> bool:
    """Tell whether a test floods its lab with as much as the machine can bear."""
    return bool(item.get_closest_marker("flood")) and flood_profile(item).busy
