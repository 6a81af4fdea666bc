"""What a simulated flood costs: whose CPU time it is, and what the audit trigger adds.

    .venv/bin/python -m benchmarks.flood shares 3.3.2
    .venv/bin/python -m benchmarks.flood shares 3.3.2 --runs 213 --keep somewhere
    .venv/bin/python -m benchmarks.flood audit 3.3.2 --rounds 4

`shares` floods once with everything on, divides the CPU time between Airflow, Postgres and each
part of ours, and says where a task instance's time goes; a run has 47 of them. `audit` floods one
lab again and again, the audit on and off in turn, and gives the ratios on/off of task instances a
second and of CPU time a task instance, pair by pair.
"""

import argparse
import logging
import statistics
import tempfile
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import psutil

from lab.environments.preparation import prepare
from lab.life import start
from lab.pool import Owner
from lab.spec import LabSpec
from lab.supervised import SupervisedLab
from load.profiles import Profile, profile
from recorder import audit
from reports.metrics import HISTORY, measure
from reports.statistics import figure
from run.run import Run

PROFILE = replace(profile("issue"), runs=12, rate=2.0)
LONGEST = 3600.0
"""Seconds that a flood may take: how fast it is, is what is asked."""

OURS = ("kubeapi", "kubelet", "dbproxy", "workerproxy", "recorder and judge", "Locust")


@contextmanager
def simulated_lab(airflow: str) -> Iterator[SupervisedLab]:
    """Boot a lab whose workers are simulated."""
    spec = LabSpec(prepare(airflow), kubelet="simulated", env=PROFILE.environment())
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


def compare_audit(airflow: str, rounds: int) -> None:
    """Print the ratios of floods with the audit on to floods with it off."""
    speed: list[float] = []
    cost: list[float] = []
    with simulated_lab(airflow) as lab, tempfile.TemporaryDirectory() as name:
        flood(lab, Path(name), seed=0)
        for number in range(rounds):
            pair = {}
            for on in (True, False) if number % 2 else (False, True):
                lab.clean()
                (audit.install if on else audit.remove)(lab.dsn())
                before = spent(lab)
                count, seconds = flood(lab, Path(name), seed=number)
                after = spent(lab)
                theirs = sum(after[part] - before[part] for part in after if part not in OURS)
                pair[on] = (count / seconds, theirs / count)
            speed.append(pair[True][0] / pair[False][0])
            cost.append(pair[True][1] / pair[False][1])
            print(f"round {number + 1}: speed {speed[-1]:.3f}, CPU {cost[-1]:.3f}", flush=True)
    print(f"task instances a second, audit on/off: median {statistics.median(speed):.3f}")
    print(f"CPU of Airflow and Postgres a task instance, on/off: {statistics.median(cost):.3f}")


_RUNS = "shares: runs of the flood (%(default)s)"


def main() -> None:
    """Measure what the arguments ask for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=["shares", "audit"])
    parser.add_argument("airflow", nargs="?", default="3.3.2")
    parser.add_argument("--rounds", type=int, default=4, help="pairs of floods (%(default)s)")
    parser.add_argument("--runs", type=int, default=PROFILE.runs, help=_RUNS)
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="shares: for the history")
    options = parser.parse_args()
    logging.basicConfig(format="%(asctime)s %(message)s", level=logging.INFO)
    if options.what == "shares":
        with tempfile.TemporaryDirectory() as name:
            shares(options.airflow, options.runs, options.keep or Path(name))
    else:
        compare_audit(options.airflow, options.rounds)


if __name__ == "__main__":
    main()
