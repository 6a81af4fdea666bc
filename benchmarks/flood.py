"""What a simulated flood costs: whose CPU time it is, and what being recorded adds.

    .venv/bin/python -m benchmarks.flood shares 3.3.2
    .venv/bin/python -m benchmarks.flood shares 3.3.2 --runs 213 --keep somewhere
    .venv/bin/python -m benchmarks.flood audit 3.3.2 --rounds 4
    .venv/bin/python -m benchmarks.flood audit 3.3.2 --rounds 6 --minutes 10

`shares` floods once with everything on, divides the CPU time between Airflow, Postgres and each
part of ours, and says where a task instance's time goes; a run has 47 of them. `audit` floods one
lab again and again, without and with the recorder in turn, in another order each round: as fast as
it goes, or for some minutes at the pace of a deployment that has little to do. The recorder is that
of an observation, which reads the audit and trims it.

A ratio is with to without, over all rounds, with its 95 % interval, for which whole rounds are
resampled (`reports.resampling.bootstrap_ratio`). CPU is that of Airflow's daemons and Postgres, and
latency is from scheduled to success, as Airflow's own table has it.
"""

import argparse
import logging
import tempfile
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import psutil

from benchmarks.large import told
from lab.database import connect
from lab.environments.preparation import prepare
from lab.life import start
from lab.pool import Owner
from lab.spec import LabSpec
from lab.supervised import SupervisedLab
from load.profiles import Profile, profile
from oracle.events import Header
from recorder import audit
from recorder.recorder import Recorder
from reports.metrics import HISTORY, measure
from reports.resampling import Statistic, bootstrap_ratio, figure
from run.run import Run

PROFILE = replace(profile("issue"), runs=12, rate=2.0)
CALM = Profile("calm", "a deployment that has little to do", "deep:3", runs=12, rate=0.2, users=0)
LONGEST = 3600.0
"""Seconds that a flood may take: how fast it is, is what is asked."""

_WARM = 12
"""Runs of a first flood, which does not count."""

_LATENCIES = """
    SELECT extract(epoch FROM end_date - scheduled_dttm)::float8
    FROM task_instance WHERE state = 'success'
"""

OURS = ("kubeapi", "kubelet", "dbproxy", "workerproxy", "recorder and judge", "Locust")


class Period(NamedTuple):
    """What one flood was like.

    `latencies` are seconds from scheduled to success, one a task instance; `cpu` is the CPU seconds
    of Airflow and Postgres for one, `speed` how many there were a second.
    """

    latencies: list[float]
    cpu: float
    speed: float

    def text(self) -> str:
        """Say it in a line."""
        median, worst = (figure(self.latencies, name) for name in ("p50", "p95"))
        return (
            f"{len(self.latencies)} task instances, {self.speed:.2f} a second; CPU {self.cpu:.3f} "
            f"s each; latency {median:.2f} s, 95th percentile {worst:.2f} s"
        )


@contextmanager
def simulated_lab(airflow: str, wanted: Profile = PROFILE) -> Iterator[SupervisedLab]:
    """Boot a lab whose workers are simulated, for a flood."""
    spec = LabSpec(prepare(airflow), kubelet="simulated", env=wanted.environment())
    me = Owner.me()
    lab = start(spec, owner=(me.pid, me.born))
    try:
        yield lab
    finally:
        lab.stop()


def flood(
    lab: SupervisedLab, folder: Path, seed: int, wanted: Profile = PROFILE
) -> tuple[int, float]:
    """Flood a lab; return how many task instances there were, and the seconds it took."""
    begun = time.monotonic()
    with wanted.flood(lab.api.base_url, folder, seed, LONGEST) as going:
        report = going.wait()
    if report.finished < wanted.runs:
        raise SystemExit(f"{report.finished} of {wanted.runs} runs ended: no figure")
    return wanted.task_instances(seed), time.monotonic() - begun


def cpu_seconds(pid: int, named: Collection[int]) -> float:
    """Return the CPU time of a process and its descendants, also of those that have ended.

    Those that have a name of their own count for themselves: daemons are forks of fork servers.
    """
    try:
        process = psutil.Process(pid)
        times, children = process.cpu_times(), process.children()
    except psutil.NoSuchProcess:
        return 0.0
    mine = sum((times.user, times.system, times.children_user, times.children_system))
    return mine + sum(cpu_seconds(each.pid, named) for each in children if each.pid not in named)


def spent(lab: SupervisedLab) -> dict[str, float]:
    """Return the CPU time so far, by part."""
    pids = {name: each.pid for name, each in lab.state.processes.items()}
    parts = {name: cpu_seconds(pid, pids.values()) for name, pid in pids.items()}
    mine = psutil.Process().cpu_times()
    parts["recorder and judge"] = mine.user + mine.system
    parts["Locust"] = mine.children_user + mine.children_system
    return parts


def shares(airflow: str, runs: int, folder: Path) -> None:
    """Print whose CPU time a flood is, and where a task instance's own time went."""
    with simulated_lab(airflow) as lab:
        run = Run(lab, folder, "shares", seed=1)
        run.begin()
        before = spent(lab)
        count, seconds = flood(lab, folder, 1, replace(PROFILE, runs=runs))
        after = spent(lab)
        judgement = run.end()
    used = {part: after[part] - before[part] for part in after}
    total = sum(used.values())
    for part, cpu in sorted(used.items(), key=lambda item: -item[1]):
        print(f"{part:<20} {cpu:7.2f} s CPU  {cpu / total:6.1%}")
    ours = sum(used[part] for part in OURS)
    print(f"ours                 {ours:7.2f} s CPU  {ours / total:6.1%}")
    print(f"{count} task instances in {seconds:.1f} s: {count / seconds:.1f} a second")
    found = measure(folder / HISTORY)
    print(f"{judgement.verdict}; median and 95th percentile of a task instance's seconds:")
    for step in ("lag", "queueing", "start", "pod_start"):
        values = getattr(found, step)
        print(f"{step:<20} {figure(values, 'p50'):.2f} {figure(values, 'p95'):.2f}")


@contextmanager
def being_recorded(lab: SupervisedLab) -> Iterator[None]:
    """Have a lab's database and pods recorded as a deployment's are in an observation."""
    audit.install(lab.dsn())
    with tempfile.TemporaryDirectory() as name:
        recorder = Recorder(
            Path(name) / HISTORY,
            Header(
                schema=1,
                run="benchmark",
                airflow=lab.airflow.label,
                lab=lab.kind,
                schedulers=list(lab.schedulers),
                seed=0,
                epoch=0.0,
            ),
            lab.dsn,
            lab.kubernetes(),
            lab.namespace,
            lab.pod_log,
            trims=True,
        )
        try:
            recorder.start()
            yield
        finally:
            recorder.stop()
            audit.remove(lab.dsn())
    if recorder.gaps:
        raise SystemExit(f"{recorder.gaps[0]}: no figure")


def period(lab: SupervisedLab, folder: Path, seed: int, wanted: Profile) -> Period:
    """Flood a lab, and say what that was like."""
    before = spent(lab)
    count, seconds = flood(lab, folder, seed, wanted)
    after = spent(lab)
    theirs = sum(after[part] - before[part] for part in after if part not in OURS)
    with connect(lab.dsn()) as connection:
        latencies = [float(row[0]) for row in connection.execute(_LATENCIES)]
    return Period(latencies, theirs / count, count / seconds)


def compare(airflow: str, rounds: int, wanted: Profile) -> None:
    """Print the ratios of floods with the recorder to floods without it."""
    found: tuple[list[Period], list[Period]] = ([], [])
    with simulated_lab(airflow, wanted) as lab, tempfile.TemporaryDirectory() as name:
        flood(lab, Path(name), 0, replace(wanted, runs=min(wanted.runs, _WARM)))
        for number in range(rounds):
            for on in (True, False) if number % 2 else (False, True):
                lab.clean()
                with being_recorded(lab) if on else nullcontext():
                    found[on].append(period(lab, Path(name), number + 1, wanted))
                how = "with" if on else "without"
                print(f"round {number + 1} {how:<8} {found[on][-1].text()}", flush=True)
    report(*found)


def report(without: Sequence[Period], recorded: Sequence[Period]) -> None:
    """Print each figure without and with the recorder, and the ratio."""
    figures: tuple[tuple[str, Callable[[Period], list[float]], Statistic], ...] = (
        ("CPU seconds, a task instance", lambda each: [each.cpu], "mean"),
        ("latency in seconds, median", lambda each: each.latencies, "p50"),
        ("latency in seconds, 95th percentile", lambda each: each.latencies, "p95"),
        ("task instances a second", lambda each: [each.speed], "mean"),
    )
    for name, values, statistic in figures:
        groups = [[values(each) for each in group] for group in (without, recorded)]
        off, on = (figure([one for each in group for one in each], statistic) for group in groups)
        ratio = bootstrap_ratio(groups[0], groups[1], statistic)
        print(f"{name:<37}{off:>8.3f}{on:>8.3f}   {told(ratio)}")


_RUNS = "shares: runs of the flood (%(default)s)"
_MINUTES = f"audit: of each flood, at {CALM.rate:g} runs a second (default: as fast as it goes)"


def main() -> None:
    """Measure what the arguments ask for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=["shares", "audit"])
    parser.add_argument("airflow", nargs="?", default="3.3.2")
    parser.add_argument("--rounds", type=int, default=4, help="pairs of floods (%(default)s)")
    parser.add_argument("--minutes", type=float, help=_MINUTES)
    parser.add_argument("--runs", type=int, default=PROFILE.runs, help=_RUNS)
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="shares: for the history")
    options = parser.parse_args()
    logging.basicConfig(format="%(asctime)s %(message)s", level=logging.INFO)
    if options.what == "shares":
        with tempfile.TemporaryDirectory() as name:
            shares(options.airflow, options.runs, options.keep or Path(name))
        return
    wanted = PROFILE
    if options.minutes:
        wanted = replace(CALM, runs=max(1, round(60 * options.minutes * CALM.rate)))
    compare(options.airflow, options.rounds, wanted)


if __name__ == "__main__":
    main()
