"""What a simulated flood costs: whose CPU time it is, and what the audit trigger adds.

    .venv/bin/python -m benchmarks.flood shares 3.3.2
    .venv/bin/python -m benchmarks.flood audit 3.3.2 --rounds 4

`shares` floods once with everything on and divides the CPU time between Airflow, Postgres and
each part of ours. `audit` floods one lab again and again, the audit on and off in turn, and gives
the ratios on/off of task instances a second and of CPU time a task instance, pair by pair.
"""

import argparse
import logging
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import psutil

from lab.environments.preparation import prepare
from lab.life import start
from lab.pool import Owner
from lab.spec import LabSpec
from lab.supervised import SupervisedLab
from load.profiles import profile
from recorder import audit
from run.run import Run

PROFILE = replace(profile("issue"), runs=12, rate=2.0)
OURS = ("kubeapi", "kubelet", "dbproxy", "recorder and judge", "Locust")


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


def flood(lab: SupervisedLab, folder: Path, seed: int) -> tuple[int, float]:
    """Flood a lab; return how many task instances there were, and the seconds it took."""
    begun = time.monotonic()
    with PROFILE.flood(lab.api.base_url, folder, seed) as going:
        report = going.wait()
    if report.finished < PROFILE.runs:
        raise SystemExit(f"{report.finished} of {PROFILE.runs} runs ended: no figure")
    return PROFILE.task_instances(seed), time.monotonic() - begun


def cpu_seconds(pid: int) -> float:
    """Return the CPU time of a process and all its descendants, also of those that have ended."""
    total = 0.0
    root = psutil.Process(pid)
    for process in (root, *root.children(recursive=True)):
        try:
            times = process.cpu_times()
        except psutil.NoSuchProcess:
            continue
        total += sum((times.user, times.system, times.children_user, times.children_system))
    return total


def spent(lab: SupervisedLab) -> dict[str, float]:
    """Return the CPU time so far, by part."""
    parts = {name: cpu_seconds(each.pid) for name, each in lab.state.processes.items()}
    mine = psutil.Process().cpu_times()
    parts["recorder and judge"] = mine.user + mine.system
    parts["Locust"] = mine.children_user + mine.children_system
    return parts


def shares(airflow: str) -> None:
    """Print whose CPU time a flood is."""
    with simulated_lab(airflow) as lab, tempfile.TemporaryDirectory() as name:
        run = Run(lab, Path(name), "shares", seed=1)
        run.begin()
        before = spent(lab)
        count, seconds = flood(lab, Path(name), seed=1)
        after = spent(lab)
        run.end()
    used = {part: after[part] - before[part] for part in after}
    total = sum(used.values())
    for part, cpu in sorted(used.items(), key=lambda item: -item[1]):
        print(f"{part:<20} {cpu:7.2f} s CPU  {cpu / total:6.1%}")
    ours = sum(used[part] for part in OURS)
    print(f"ours                 {ours:7.2f} s CPU  {ours / total:6.1%}")
    print(f"{count} task instances in {seconds:.1f} s: {count / seconds:.1f} a second")


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


def main() -> None:
    """Measure what the arguments ask for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=["shares", "audit"])
    parser.add_argument("airflow", nargs="?", default="3.3.2")
    parser.add_argument("--rounds", type=int, default=4, help="pairs of floods (%(default)s)")
    options = parser.parse_args()
    logging.basicConfig(format="%(asctime)s %(message)s", level=logging.INFO)
    if options.what == "shares":
        shares(options.airflow)
    else:
        compare_audit(options.airflow, options.rounds)


if __name__ == "__main__":
    main()
