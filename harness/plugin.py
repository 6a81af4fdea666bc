"""The pytest plugin: options, markers, fixtures, and how a judgement ends a test."""

import functools
import logging
import shutil
from collections.abc import Generator, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from common.environment import forget_libpq
from common.redaction import redact, remember
from common.secret_names import secrets_of
from harness import depth, judging, preflight, redacting, summary, termination
from harness.exploration import Exploration
from harness.faults import Faults
from harness.flood import Floods
from harness.judging import FAILED, RUN
from harness.markers import (
    check_scenarios,
    dags_line,
    declared_faults,
    flood_of,
    keeps_machine_busy,
    lab_after_lab,
    lab_spec,
    leave_to_own_dags,
    leaves_lab_usable,
    loads_machine,
    missing,
    scenario_cases,
    scenario_of,
    settings_lines,
    wants_cluster_alone,
    why_not,
)
from harness.observe import Observation, missing_for, printer, why_left_alone
from harness.options import add_options, is_suite_session, use_present_names
from harness.options_cluster import deselect
from harness.options_kind import chart_line
from harness.register import Register, hand_over
from harness.results import Results
from harness.session import SESSION, Session, slug
from lab import kinds
from lab.base import Lab
from lab.environments.request import describe
from lab.kind.cluster import Cluster
from run.folder import attempt_folder
from run.run import Run, rehearse
from scenarios.scenario import Scenario

log = logging.getLogger(__name__)

_REGISTER = pytest.StashKey[Register]()

_MARKERS = (
    "scenario(name): run every permutation of suites/scenarios/NAME.yaml",
    "issue(name, shows=True): the known race that this test can meet; shows: it must show it",
    "fault(fault, ...): what disturbs its lab, which must be able to do that, or it skips",
    "needs(power, ...): what else its lab must be able to do, or it skips",
    "explore(world): explore orders of statements with the settings of explore.plan.WORLDS",
    "flood(profile): flood the lab with a profile of load/profiles.py",
    depth.MARKER,
    "meanwhile: does what a scenario says to do meanwhile; each such permutation has it",
)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare the suite's options."""
    add_options(parser)


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Check the options and decide where this session writes, before Allure asks."""
    for marker in _MARKERS:
        config.addinivalue_line("markers", marker)
    if not is_suite_session(config) or config.option.help:
        return
    check_scenarios()
    use_present_names(config)
    forget_libpq(credentials=config.getoption("lab") == "cluster")
    redacting.begin()
    termination.begin(config)
    config.pluginmanager.register(redacting.Redacting(), "ha_chaos_redacting")
    if runs_tests := preflight.runs_tests(config):
        preflight.require_folders()
    session = Session.of(config, alone=runs_tests)
    remember(secrets_of(session.options.settings))
    config.stash[SESSION] = session
    config.option.attach_capture = False
    given = getattr(config.option, "allure_report_dir", None)
    if given is None and not preflight.looks_only(config):
        config.option.allure_report_dir = str(session.results)
    config.pluginmanager.register(judging, "ha_chaos_judging")
    config.pluginmanager.register(Results(config), "ha_chaos_results")
    if not hasattr(config, "workerinput"):
        register = Register(session, Path(given or session.results))
        config.stash[_REGISTER] = register
        config.pluginmanager.register(register, "ha_chaos_register")


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Give an xdist worker what its controller decided."""
    if session := node.config.stash.get(SESSION, None):
        node.workerinput["ha_chaos"] = session.encoded


def pytest_report_header(config: pytest.Config) -> list[str]:
    """Say what is tested, and the seed that repeats it."""
    session = config.stash.get(SESSION, None)
    if session is None:
        return []
    options = session.options
    plan = list(options.cluster.plan) if options.cluster else []
    if options.lab == "kind":
        plan = [chart_line(options.kind, (describe(each).version for each in options.airflow))]
    return [
        f"airflow: {', '.join(options.airflow)}; lab: {options.lab}, "
        f"{options.schedulers} schedulers; seed: {options.seed}",
        depth.line(options.depth),
        *map(redact, settings_lines(options.settings)),
        *dags_line(options),
        *plan,
    ]


@pytest.hookimpl(tryfirst=True)
def pytest_sessionstart(session: pytest.Session) -> None:
    """Have at hand what every test needs, and print the plan for somebody else's deployment.

    The plan is printed also where `-q` leaves the header out.
    """
    config = session.config
    shared = config.stash.get(SESSION, None)
    if shared and preflight.runs_tests(config):
        shared = config.stash[SESSION] = preflight.prepare(config, shared)
        config.stash[_REGISTER].goes_on(shared)
    elif shared and not hasattr(config, "workerinput"):
        preflight.foresee_all(config, shared.options)
    terminal = config.pluginmanager.get_plugin("terminalreporter")
    if shared and shared.options.cluster and terminal and config.option.verbose < 0:
        for line in shared.options.cluster.plan:
            terminal.write_line(line)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Run what is asked for: an observation alone, or the tests of a depth."""
    if session := config.stash.get(SESSION, None):
        cluster = session.options.cluster
        deselect(config, items, cluster is not None and cluster.observe is not None)
        depth.leave_to_deeper(config, items, session.options.depth)
        leave_to_own_dags(config, items, session.options)
        lab_after_lab(items, session.options)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtestloop() -> Generator[None, object, object]:
    """End where nothing can be written down any more, whoever's plugin finds that out."""
    with preflight.room_on_disk():
        return (yield)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_finish(session: pytest.Session) -> None:
    """Write down for the controller what a worker collected; under xdist only workers collect."""
    shared = session.config.stash.get(SESSION, None)
    given: dict[str, str] | None = getattr(session.config, "workerinput", None)
    if shared is not None and given is not None:
        hand_over(shared, given["workerid"], session.items)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Make one test of each permutation of a scenario, and of each Airflow."""
    session = metafunc.config.stash.get(SESSION, None)
    if session is None:
        return
    if "permutation" in metafunc.fixturenames:
        metafunc.parametrize("permutation", **scenario_cases(metafunc.definition))
    if "lab" in metafunc.fixturenames:
        airflow = session.options.airflow
        ids = [f"{session.options.lab}-{slug(spec)}" for spec in airflow]
        metafunc.parametrize("lab", airflow, ids=ids, indirect=True, scope="function")


@pytest.fixture
def seed(request: pytest.FixtureRequest) -> int:
    """The session's seed: it fixes the load and every random choice."""
    return request.config.stash[SESSION].options.seed


@pytest.fixture
def lab(request: pytest.FixtureRequest) -> Iterator[Lab]:
    """A clean lab of one Airflow, leased for this test."""
    session = request.config.stash[SESSION]
    pool = session.pool()
    kind = session.options.lab
    if (reason := why_left_alone(request.node, session.options)) or (
        reason := missing(request.node, functools.partial(kinds.missing, kind))
    ):
        pytest.skip(reason)
    spec = lab_spec(request.node, request.param, session.options)
    if reason := why_not(request.node, spec.airflow.version):
        pytest.skip(reason)
    alone, busy = wants_cluster_alone(request.node), keeps_machine_busy(request.node)
    loads, reuse = loads_machine(request.node), leaves_lab_usable(request.node)
    with pool.lease(spec, alone=alone, loads=loads, busy=busy, reuse=reuse) as leased:
        rehearse(leased)
        reason = missing(request.node, leased.missing)
        if not reason and session.options.cluster:
            reason = missing_for(request.node, leased)
        if reason:
            pytest.skip(reason)
        yield leased
        failed = request.node.stash.get(FAILED, False)
        keep = session.options.keep_lab
        if keep == "always" or (keep == "failed" and failed):
            pool.release_to_user(leased)
            log.info("The lab stays up: python -m lab status")


@pytest.fixture
def history(request: pytest.FixtureRequest, lab: Lab, seed: int) -> Iterator[Run]:
    """The recorder and the judge of this test; the test is judged when its function returns.

    Where it never does, as when the session is stopped, nobody looks on for longer than it lasts.
    """
    session = request.config.stash[SESSION]
    name = request.node.name
    wanted = session.folder(request.node.callspec.params["lab"]) / _test_folder(request.node)
    folder = attempt_folder(wanted)
    asked = sorted(scenario_of(request.node).breaks) if "scenario" in request.fixturenames else ()
    trims = "observation" in request.fixturenames
    run = Run(lab, folder, name, seed, trims=trims, asked=asked)
    run.begin()
    request.node.stash[RUN] = run
    yield run
    run.abandon()


def _test_folder(node: pytest.Item) -> Path:
    return Path("tests") / slug(f"{node.name}".replace("[", "-").replace("]", ""))


@pytest.fixture
def scenario(request: pytest.FixtureRequest) -> Scenario:
    """The scenario that the test is marked with."""
    return scenario_of(request.node)


@pytest.fixture
def faults(request: pytest.FixtureRequest, history: Run) -> Faults:
    """Begins the fault that the test's marker declares, or another; see `chaos/`."""
    return Faults(history, declared_faults(request.node))


@pytest.fixture
def flood(request: pytest.FixtureRequest, history: Run) -> Iterator[Floods]:
    """Floods of DAG runs; what still runs at the end of the test is stopped."""
    options = request.config.stash[SESSION].options
    profile = flood_of(request.node, options)
    for dag_id in profile.dag_ids:
        history.lab.api.pause_dag(dag_id, paused=False)
    if options.flood_runs:
        profile = replace(profile, runs=options.flood_runs)
    else:
        if history.lab.workers == "pods":
            profile = profile.for_pods()
        profile = replace(profile, runs=depth.runs_in_a_flood(options.depth, profile.runs))
    floods = Floods(
        history,
        profile,
        whole=options.whole_flood,
        load_workers=options.flood_workers,
        until=options.until(),
    )
    yield floods
    floods.stop()


@pytest.fixture
def observation(request: pytest.FixtureRequest, history: Run) -> Observation:
    """The observation that --observe asks for."""
    cluster = request.config.stash[SESSION].options.cluster
    assert cluster is not None
    return Observation(history, cluster.observe or 0.0, printer(request.config))


@pytest.fixture
def exploration(request: pytest.FixtureRequest, lab: Lab, seed: int) -> Exploration:
    """An exploration of this lab, which goes on where the last session's ended.

    It has its share of --explore: the selected explorations have it together.
    """
    session = request.config.stash[SESSION]
    selected = [item for item in request.session.items if item.get_closest_marker("explore")]
    share = session.options.explore / max(1, len(selected))
    world = str(request.node.get_closest_marker("explore").args[0])
    wanted = session.folder(request.node.callspec.params["lab"]) / _test_folder(request.node)
    return Exploration(
        lab,
        world,
        seed,
        share,
        printer(request.config),
        test=request.node.nodeid,
        folder=attempt_folder(wanted),
    )


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Take the labs down, once, in the process that owns them."""
    shared = session.config.stash.get(SESSION, None)
    if shared is not None and not hasattr(session.config, "workerinput"):
        if not session.config.stash[_REGISTER].sessions:
            preflight.leave_nothing(shared)
        if preflight.looks_only(session.config):
            return
        pool = shared.pool()
        pool.close()
        shutil.rmtree(pool.root, ignore_errors=True)
        if shared.options.lab == "kind" and session.config.getoption("kind_delete"):
            Cluster(shared.options.kind.cluster).delete()


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """End with the verdicts, the first witness, and where the rest is."""
    session = config.stash.get(SESSION, None)
    if session is not None:
        summary.write(terminalreporter, session, config.stash[_REGISTER].sessions)
