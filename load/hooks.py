"""What Locust does beside its users: the flood's options, its shared state, and its report."""

from functools import partial
from pathlib import Path
from typing import Any

import gevent
from locust import events
from locust.argument_parser import LocustArgumentParser
from locust.env import Environment
from locust.runners import MasterRunner, Runner, WorkerRunner
from locust.stats import StatsEntry

from load.client import AirflowUser
from load.crew import MESSAGE, Crew, WorkerTally
from load.plan import Asked
from load.report import Endpoint, FloodReport
from load.tally import Tally


@events.init_command_line_parser.add_listener  # type: ignore[untyped-decorator]
def add_options(parser: LocustArgumentParser) -> None:
    """Add what a flood is asked for to Locust's own options."""
    add = parser.add_argument
    add("--dags", default="", help="ids of the DAGs to run, comma list")
    add("--runs", type=int, default=1, help="how many runs to trigger")
    add("--rate", type=float, default=1.0, help="runs to trigger a second")
    add("--seed", type=int, default=0, help="decides the order of DAGs and pages")
    add("--run-prefix", default="flood", help="begins the run ids: PREFIX-SEED-N")
    add("--patience", type=float, default=30.0, help="seconds that a first answer may take")
    add("--report", default="flood.json", help="where the report goes; runs go beside it")


@events.init.add_listener  # type: ignore[untyped-decorator]
def begin(environment: Environment, runner: Runner, **_: Any) -> None:
    """Give the users what they share; a master first gets its workers together.

    Timers go by gevent's clock, which stood still while everything was imported: on a busy machine
    a flood's time would be over before it began.
    """
    gevent.get_hub().loop.update_now()
    options: Any = environment.parsed_options
    AirflowUser.asked = asked = _asked(options)
    AirflowUser.patience = AirflowUser.network_timeout = options.patience
    AirflowUser.connection_timeout = options.patience
    if isinstance(runner, WorkerRunner):
        tally = WorkerTally(partial(runner.send_message, MESSAGE))
        AirflowUser.tally, AirflowUser.leave = tally, tally.leave
        return
    crew = _gathered(environment, runner) if isinstance(runner, MasterRunner) else None
    AirflowUser.tally = Tally(journal_path(Path(options.report)).open("w"))
    AirflowUser.leave = lambda: gevent.spawn(runner.quit)
    for operator in environment.user_classes:
        operator.fixed_count = operator.fixed_count and asked.operators
    if crew:
        crew.follow(AirflowUser.tally)


def _asked(options: Any) -> Asked:
    workers = options.processes or 0
    return Asked(
        dag_ids=tuple(filter(None, options.dags.split(","))),
        users=max(0, (options.num_users or 1) - max(1, workers)),
        workers=workers,
        **{name: getattr(options, name) for name in ("runs", "rate", "seed", "run_prefix")},
    )


def _gathered(environment: Environment, runner: MasterRunner) -> Crew:
    """Return the crew once it is all there; a report that says why it is not ends the process."""
    crew = Crew(environment, runner)
    if complaint := crew.gather():
        options: Any = environment.parsed_options
        FloodReport(asked=AirflowUser.asked, lost=complaint).save(Path(options.report))
        raise SystemExit(complaint)
    return crew


@events.quitting.add_listener  # type: ignore[untyped-decorator]
def finish(environment: Environment, **_: Any) -> None:
    """Write the report, also when the flood was stopped before its time."""
    options: Any = environment.parsed_options
    if not isinstance(environment.runner, WorkerRunner):
        report(environment, AirflowUser.asked, AirflowUser.tally).save(Path(options.report))


def journal_path(report_path: Path) -> Path:
    """Return where the runs are listed that belong to a report."""
    return report_path.with_name(f"{report_path.stem}-runs.ndjson")


def report(environment: Environment, asked: Asked, tally: Tally) -> FloodReport:
    """Put together what was asked, what came of it and what Locust measured."""
    stats = environment.stats
    total = endpoint(stats.total)
    return FloodReport(
        asked=asked,
        triggered=tally.count,
        finished=sum(tally.ended.values()),
        ended=dict(tally.ended),
        runs_per_second=round(tally.rate, 3),
        requests=total.requests,
        failures=total.failures,
        requests_per_second=round(total.requests / tally.seconds, 3),
        p50_ms=total.p50_ms,
        p95_ms=total.p95_ms,
        seconds=round(tally.seconds, 3),
        errors={f"{e.method} {e.name}: {e.error}": e.occurrences for e in stats.errors.values()},
        endpoints={f"{method} {name}": endpoint(e) for (name, method), e in stats.entries.items()},
        absent=tuple(sorted(tally.absent)),
        error=tally.error,
        lost=tally.lost,
    )


def endpoint(entry: StatsEntry) -> Endpoint:
    """Return what Locust measured of one route, or of all of them."""
    return Endpoint(
        requests=entry.num_requests,
        failures=entry.num_failures,
        p50_ms=entry.get_response_time_percentile(0.5),
        p95_ms=entry.get_response_time_percentile(0.95),
    )
