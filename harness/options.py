"""The suite's command-line options, and what they are checked for before anything starts."""

import argparse
import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from common.durations import seconds
from common.errors import UserError
from common.paths import FOLDERS, PROJECT
from common.pipe import count
from harness.depth import add_depth_option, depth_of, seconds_of_exploring
from harness.options_cluster import ClusterOptions, add_cluster_options, read_cluster_options
from harness.options_kind import add_kind_options, read_kind_options
from lab.environments.pins import newest
from lab.environments.request import describe
from lab.environments.settings import variables
from lab.kind.provision import Provision
from lab.room import most
from lab.spec import COLD
from oracle.old_names import present_expression, present_test
from reports.campaigns.sessions import airflows
from reports.statistics import Sequential

SUITES = PROJECT / "suites"


_AS_GIVEN = (
    *("lab", "cold", "keep_lab", "expect_known", "whole_flood", "triggerers"),
    *("flood_workers", "flood_runs", "until_clear", "confidence"),
)
"""Options that need no other check than their own type's."""


@dataclass(frozen=True)
class Options:
    """The options of one session, checked."""

    lab: str
    cold: bool
    airflow: tuple[str, ...]
    schedulers: int
    seed: int
    labs: int | None
    keep_lab: str
    expect_known: bool
    whole_flood: bool
    flood_workers: int
    flood_runs: int | None
    kind: Provision
    cluster: ClusterOptions | None = None
    until_clear: float | None = None
    confidence: float = 0.95
    triggerers: int = 0
    depth: str = "quick"
    explore: float = 60.0
    settings: Mapping[str, str] = field(default_factory=dict)
    dags: str = ""
    flood_dags: tuple[str, ...] = ()

    def until(self) -> Sequential | None:
        """Return the test by which a flood knows that its answer is clear, if one is asked for."""
        return None if self.until_clear is None else Sequential(self.until_clear, self.confidence)


def add_options(parser: pytest.Parser) -> None:
    """Declare the options."""
    folders = FOLDERS.replace("\n", "\n  ")
    group = parser.getgroup("airflow-ha-chaos", f"airflow-ha-chaos, with\n  {folders}")
    for name, choices, text in (
        ("--lab", ("embedded", "kind", "cluster"), "embedded: plain processes on this machine; "
         "kind: the official Helm chart, on kind; cluster: a release of the chart that is already "
         "deployed (default: %(default)s)"),
        ("--keep-lab", ("never", "failed", "always"), "keep the lab running after a test, so that "
         "you can look at it (default: %(default)s)"),
    ):  # fmt: skip
        group.addoption(name, choices=choices, default=choices[0], help=text)
    group.addoption(
        "--airflow",
        action="append",
        metavar="SPEC",
        help="Airflow to test: a version, a wheel or a folder of wheels, a source checkout, "
        "a Python that has Airflow, or `all` (every version in versions/); repeatable "
        "(default: the newest final version)",
    )
    group.addoption(
        "--set",
        action="append",
        default=[],
        metavar="SECTION.OPTION=VALUE",
        help="an option of Airflow's, for every process of every lab, as in --set "
        "core.parallelism=32; repeatable. What a scenario or an exploration sets itself it keeps, "
        "and the first lines of the session name it; AIRFLOW__ variables of your shell are ignored",
    )
    group.addoption(
        "--dags",
        metavar="DIR",
        help="flood and disturb the DAGs of this folder instead of ours, on labs of ours. Their "
        "tasks really run, on this machine: let their connections lead to nothing that matters. "
        "Tests that have DAGs of their own are left out; a file that does not import ends the "
        "session before it begins, and so does a missing provider, of the image's with --lab kind",
    )
    group.addoption(
        "--flood-dags",
        action="append",
        default=[],
        metavar="GLOB",
        help="flood those DAGs of --dags alone whose ids match; repeatable (default: all)",
    )
    for name, text in (
        ("--cold", f"embedded: {COLD}"),
        ("--expect-known", "for a release with a known race: a test that forces it is green if it "
         "shows, red if it does not; one that may meet it is green either way"),
        ("--whole-flood", "go on after a flood's first violation, to count all of them"),
    ):  # fmt: skip
        group.addoption(name, action="store_true", help=text)
    for name, kind, default, metavar, text in (
        ("--schedulers", count, 2, "N", "how many schedulers run (default: %(default)s)"),
        ("--triggerers", count, 0, "N", "how many triggerers run (default: as many as a test "
         "needs, which is none for most)"),
        ("--seed", int, None, "N", "seed of the load and of random choices, to repeat a run "
         "(default: random)"),
        ("--labs", count, None, "N", "how many labs may run at once (default: as many as the "
         "processors have room for; on kind one for every two of them)"),
        ("--flood-runs", count, None, "N", "DAG runs in each flood (default: its profile's "
         "number; a third of it on a cluster or with --dags, a ninth with both)"),
        ("--flood-workers", int, 0, "N", "how many Locust processes share a flood "
         "(default: one)"),
        ("--explore", seconds, None, "DURATION", "how long to explore, all explorations together: "
         "90s, 20m, 8h (default: by --depth 60s, 20m, 1h); the next session goes on there"),
        ("--until-clear", _share, None, "RATE", "end a flood as soon as it has ruled out that task "
         "instances show a violation at this rate, and not before: 0.01 takes 299 task instances "
         "at 95 %%"),
        ("--confidence", _share, 0.95, "C", "confidence of --until-clear (default: "
         "%(default)s)"),
    ):  # fmt: skip
        group.addoption(name, type=kind, default=default, metavar=metavar, help=text)
    add_depth_option(group)
    add_kind_options(parser)
    add_cluster_options(parser)


def _share(text: str) -> float:
    share = float(text)
    if not 0 < share < 1:
        raise argparse.ArgumentTypeError("must lie between 0 and 1")
    return share


def read_options(config: pytest.Config) -> Options:
    """Check the options; pytest.UsageError with one clear line for what is wrong."""
    settings, dags = _settings(config), _dags(config)
    cluster = read_cluster_options(config)
    default = [cluster.version] if cluster else [newest()]
    specs = airflows(config.getoption("airflow") or default)
    for spec in () if cluster else specs:
        try:
            request = describe(spec)
        except UserError as error:
            raise pytest.UsageError(f"--airflow {spec}: {error}") from error
        if config.getoption("lab") != "embedded" and request.kind != "version":
            raise pytest.UsageError(
                f"--airflow {spec}: a cluster runs images. Build one, and give it by "
                "--airflow-image beside its version in --airflow."
            )
    if config.getoption("whole_flood") and config.getoption("until_clear"):
        raise pytest.UsageError(
            "--until-clear ends a flood early, --whole-flood never: give one of them."
        )
    seed, depth = config.getoption("seed"), depth_of(config)
    given = {name: config.getoption(name) for name in _AS_GIVEN}
    return Options(
        **given,
        airflow=specs,
        schedulers=cluster.schedulers if cluster else config.getoption("schedulers"),
        seed=random.randrange(1_000_000) if seed is None else seed,
        labs=_labs(config),
        kind=read_kind_options(config),
        cluster=cluster,
        depth=depth,
        explore=config.getoption("explore") or seconds_of_exploring(depth),
        settings=settings,
        dags=dags,
        flood_dags=tuple(config.getoption("flood_dags")),
    )


def _dags(config: pytest.Config) -> str:
    """Return the folder of `--dags`; pytest.UsageError for what is none, or where none can be."""
    given: str | None = config.getoption("dags")
    if given is None:
        if config.getoption("flood_dags"):
            raise pytest.UsageError("--flood-dags chooses among the DAGs of --dags: give that too.")
        return ""
    if not given:
        raise pytest.UsageError("--dags is empty: write the folder of your DAGs.")
    folder = Path(given).expanduser().resolve()
    if config.getoption("lab") == "cluster":
        raise pytest.UsageError("--dags is for labs of ours: a deployment has its own DAGs.")
    if not folder.is_dir():
        what = "it is a file, not a folder" if folder.exists() else "there is no such folder"
        raise pytest.UsageError(f"--dags {given}: {what}.")
    return str(folder)


def _settings(config: pytest.Config) -> dict[str, str]:
    """Return the variables that `--set` makes; pytest.UsageError for what cannot be set."""
    given = config.getoption("set")
    if given and config.getoption("lab") == "cluster":
        raise pytest.UsageError(
            "--set is for labs that the suite makes: a deployment's options are its owner's to set."
        )
    try:
        return variables(given)
    except UserError as error:
        raise pytest.UsageError(str(error)) from error


def _labs(config: pytest.Config) -> int | None:
    """Return how many labs there may be; None for as many as the machine has room for."""
    kind = config.getoption("lab")
    if kind == "cluster":
        return 1
    # On kind a lab is heavier, and its load is seen when its pods start: one for two processors.
    return config.getoption("labs") or (None if kind == "embedded" else most() // 4 or 1)


def use_present_names(config: pytest.Config) -> None:
    """Let command lines of before select what they selected: `-k gated`, and node ids."""
    config.option.keyword = present_expression(config.option.keyword)
    config.option.deselect = [*map(present_test, config.option.deselect or ())]
    config.args[:] = [present_test(str(argument)) for argument in config.args]


def is_suite_session(config: pytest.Config) -> bool:
    """Tell whether the suites are being run, and not only the project's own tests."""
    for argument in config.args:
        path = Path(str(argument).split("::")[0]).resolve()
        if path == SUITES or SUITES in path.parents or path in SUITES.parents:
            return True
    return False
