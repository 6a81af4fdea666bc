"""`python -m explore`: explore a release, and replay, shrink and explain what was found."""

import argparse
import logging
import signal
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from msgspec.structs import replace

from common import pipe
from common.durations import seconds
from common.errors import UserError
from common.files import write_whole
from common.waiting import Deadline
from explore import schedule as schedules
from explore.explain import judged, scenario
from explore.explorer import Drawn, Explorer, LabLost
from explore.labs import FOUND, check_room, folders, side_by_side, together
from explore.memory import folder_of, recall, remember, remember_told, resumed
from explore.plan import WORLDS, lab_spec, shapes
from explore.points import LEVELS
from explore.replay import replay
from explore.results import alone, beside, writable
from explore.schedule import Schedule
from explore.shrink import shrink
from explore.stations import AGAIN
from explore.strategies import EXPLORING, TURNS
from lab.base import Airflow
from lab.environments.pins import newest
from lab.environments.preparation import prepare
from lab.life import start
from lab.pool import Owner
from lab.supervised import SupervisedLab
from scenarios.scenario import load

_ABOUT = """\
Find races that nobody knows: the statements of unmodified schedulers and of the API server stand
at points inside the database, and one at a time is let past, in orders that a seed draws.

  python -m explore run --airflow 3.3.2 --for 1h
        explore; what breaks a promise is kept as a schedule, with its history. To continue, run
        the same command again: hours add up. --labs 2 for two processors
  python -m explore replay FILE --count 20
        replay the schedule, and count how often it shows the violation again
  python -m explore shrink FILE
        the fewest preemptions that still show it -> shrunk/schedule.yaml beside it
  python -m explore explain shrunk/schedule.yaml --out suites/scenarios/NAME.yaml
        the race as a scenario, and how it was seen to happen; it also needs a test with
        @pytest.mark.scenario("NAME") (CONTRIBUTING.md, "A new scenario")

strategies: random (a random walk), pct (random priorities, lowered at d - 1 steps; finds a race of
depth d in a round with a probability of 1 / (n k^(d-1)) at least, where n processes pass k points),
pos (a random priority for each statement), learning (orders that were not seen yet), stale (one
that reads stands until another has written what it reads); every other round has stale

exit codes: 0 done, or nothing was found (replay: it was shown), 1 something was found (replay: it
was not shown), 2 it could not be done (bad input, no round could be judged, labs were lost, nothing
to shrink or to explain), 130 interrupted; what was found until then is kept
"""

_WORLDS = """\
worlds, settings that make the schedulers share work differently; each needs a lab of its own:
  defaults     Airflow's own settings
  run-a-loop   a scheduler takes one DAG run a loop, so that both have some
  task-a-loop  a scheduler takes one DAG run and one task a loop
  triggers     tasks that defer, with a triggerer and real workers: fewer rounds an hour

points, where processes stop, from few (deep orders are reached) to many (narrow windows are):
  coarse       statements that scan dag
  fine         statements that scan dag or dag_run
  commits      as coarse, and commits that wrote dag_run or task_instance
  pods         as coarse, and requests about pods, before and after they are processed
  finest       statements that scan dag, dag_run or task_instance, and those commits
"""


_NIGHT = 24 * 3600.0
_MOST_LOST = 3


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m explore",
        description=_ABOUT,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    run = commands.add_parser(
        "run",
        help="explore a release",
        description="Explore a release.",
        epilog=_WORLDS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = run.add_argument
    add("--airflow", metavar="SPEC", help="as pytest takes it (default: the newest final version)")
    add("--for", dest="long", type=seconds, metavar="DURATION",
        help="how long, as 90s, 20m, 8h (default: 1m)")  # fmt: skip
    add("--rounds", type=pipe.count, metavar="N", help="or how many rounds")
    add("--seed", type=int, default=1, help="what rounds are drawn by (default: %(default)s)")
    add("--world", choices=WORLDS, default="run-a-loop",
        help="Airflow's settings, see below (default: %(default)s)")  # fmt: skip
    add(
        "--strategy",
        action="append",
        choices=EXPLORING,
        help="repeatable (default: all in turn, stale in every other round)",
    )
    add("--points", action="append", choices=LEVELS,
        help="see below; repeatable (default: all, one drawn for each round)")  # fmt: skip
    add("--first", action="store_true", help="end at the first find")
    add("--labs", type=pipe.count, default=1, metavar="N",
        help="labs at a time; one keeps a processor busy (default: %(default)s)")  # fmt: skip
    add("--folder", type=Path, help="where to keep what is found (default: in the cache)")
    add("--no-moves", action="store_true", help="orders alone: nobody clears, kills, freezes ..")
    run.set_defaults(work=_run)
    for name, work, text in (
        ("replay", _replay, "say how often a schedule shows its violation again"),
        ("shrink", _shrink, "find the fewest preemptions that still show it"),
        ("explain", _explain, "write a shrunken schedule as a scenario"),
    ):
        command = commands.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.")
        command.add_argument("file", type=Path, metavar="FILE", help="a schedule.yaml")
        if name == "replay":
            command.add_argument("--count", type=pipe.count, default=10, metavar="N",
                                 help="rounds (default: %(default)s)")  # fmt: skip
        if name == "explain":
            command.add_argument(
                "--out", type=Path, metavar="FILE",
                help="the scenario's file, suites/scenarios/NAME.yaml (default: standard output)",
            )  # fmt: skip
        else:
            command.add_argument("--airflow", metavar="SPEC", help="instead of the schedule's")
        command.set_defaults(work=work)
    return parser


@contextmanager
def _lab(airflow: Airflow, settings: Mapping[str, str]) -> Iterator[SupervisedLab]:
    """Boot a lab that dies with this process, and take it down in the end."""
    owner = Owner.me()
    lab = start(lab_spec(airflow, settings), owner=(owner.pid, owner.born))
    try:
        yield lab
    finally:
        lab.stop()


def _run(options: argparse.Namespace) -> int:
    """Explore a release; return 1 where something was found."""
    check_room(options.labs)
    airflow = prepare(options.airflow or newest())
    folder = writable(options.folder or folder_of(airflow, options.world))
    if options.labs > 1:
        return _beside_each_other(options, folder)
    with alone(folder):
        recall(folder)
        return _explored(options, airflow, folder)


def _beside_each_other(options: argparse.Namespace, folder: Path) -> int:
    """Explore in several labs at a time; return 1 where one of them found something."""
    for place in folders(folder, options.labs):
        recall(place)
    try:
        codes = side_by_side(
            sys.argv[1:], folder, options.labs,
            seed=options.seed, rounds=options.rounds, first=options.first,
        )  # fmt: skip
    finally:
        _say(together(folder, options.labs))
        _say(f"Kept in {folder}")
    return FOUND if FOUND in codes else 0 if 0 in codes else 2


def _explored(options: argparse.Namespace, airflow: Airflow, folder: Path) -> int:
    """Explore, with another lab where one is lost."""
    over: Deadline | None = None
    left = options.rounds
    found, lost, judged = 0, 0, 0
    while not (over and over.passed) and left != 0 and lost < _MOST_LOST:
        with _lab(airflow, WORLDS[options.world]) as lab:
            over = over or Deadline(options.long or (_NIGHT if options.rounds else 60.0))
            explorer = _explorer(options, lab, folder)
            begun, known = explorer.number, explorer.totals.judged
            try:
                explorer.explore(partial(_enough, options, explorer, begun, left, over))
                left, lost = 0, 0
            except LabLost as error:
                _say(str(error))
                left = left and max(0, left - (explorer.number - begun))
                lost = 1 if explorer.totals.judged > known else lost + 1
            finally:
                remember(explorer)
                remember_told(explorer)
                _say(explorer.totals.line(explorer.coverage))
                _say(f"{explorer.totals.uncontrolled:.0%} of steps followed from time alone")
                _say(f"Kept in {explorer.folder}")
            found += len(explorer.finds)
            judged += explorer.totals.judged - known
            if options.first and found:
                break
    if found:
        return FOUND
    if lost >= _MOST_LOST:
        raise UserError(f"{lost} labs were lost one after the other.", "See their logs.")
    if judged <= 0:
        raise UserError("No round could be judged.", "Give it longer: --for 20m, or --rounds 10.")
    return 0


def _enough(
    options: argparse.Namespace, explorer: Explorer, begun: int, left: int | None, over: Deadline
) -> bool:
    rounds = left is not None and explorer.number - begun >= left
    return rounds or over.passed or bool(options.first and explorer.finds)


def _explorer(options: argparse.Namespace, lab: SupervisedLab, folder: Path) -> Explorer:
    source = Drawn(
        options.seed,
        options.strategy or TURNS,
        options.points or tuple(LEVELS),
        moves=not options.no_moves,
        world=options.world,
    )
    return resumed(lab, folder, source, _say)


def _replay(options: argparse.Namespace) -> int:
    schedule, airflow = _given(options)
    with (
        beside(options.file, "replays", "finds") as folder,
        _lab(airflow, schedule.settings) as lab,
    ):
        shown = replay(lab, schedule, options.count, folder, tell=_say)
    print(shown.text)
    if not shown.rate.trials:
        raise UserError("No round could be judged.", "Replay it on a machine with less to do.")
    return 0 if shown.rate.hits else 1


def _shrink(options: argparse.Namespace) -> int:
    schedule, airflow = _given(options)
    if not schedule.steps:
        raise UserError(
            f"{options.file} is a shrunken schedule.",
            "Give that which the exploration wrote: finds/ROUND/schedule.yaml.",
        )
    with (
        beside(options.file, "shrunk", "schedule.yaml") as folder,
        _lab(airflow, schedule.settings) as lab,
    ):
        history = options.file.with_name("history.ndjson")
        small = shrink(lab, schedule, folder, print, history)
    file = options.file.parent / "shrunk" / "schedule.yaml"
    print(f"{', '.join(small.yields) or 'no preemption'}: {file}")
    return 0


def _explain(options: argparse.Namespace) -> int:
    schedule = schedules.read(options.file)
    if options.out is not None and options.out.exists():
        raise UserError(f"{options.out} is there already.", "Choose another name, or remove it.")
    if options.out is not None and options.out.suffix != ".yaml":
        raise UserError(f"{options.out} is no name of a scenario's file.", "Have it end in .yaml.")
    name = options.out.stem if options.out else "found"
    judgement = judged(options.file.with_name("history.ndjson"))
    try:
        text = scenario(schedule, judgement, name)
    except (KeyError, ValueError) as error:  # names of a process or a setting that there is not
        raise UserError(f"The schedule makes no scenario: {error}.", AGAIN) from error
    _check_scenario(text, name)
    if options.out is None:
        print(text, end="")
        return 0
    try:
        write_whole(options.out, text)
    except OSError as error:
        raise UserError(f"{options.out} cannot be written: {error.strerror}.") from error
    print(f"{options.out} is written. For it to run, add a test that has the marker")
    print(f'@pytest.mark.scenario("{name}"): CONTRIBUTING.md, "A new scenario".')
    return 0


def _check_scenario(text: str, name: str) -> None:
    """Raise UserError for a scenario that its reader would refuse: the schedule was changed."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"{name}.yaml"
        path.write_text(text)
        try:
            load(path)
        except UserError as error:
            raise UserError(f"The schedule makes no scenario: {error}", AGAIN) from error


def _given(options: argparse.Namespace) -> tuple[Schedule, Airflow]:
    """Return the schedule of a command, and for which Airflow it is.

    Raises UserError where its names mean nothing in the labs of this version.
    """
    schedule = schedules.read(options.file)
    known = shapes(schedule.settings)
    if schedule.shapes != known:
        raise UserError(
            f"{options.file} is of other DAGs ({schedule.shapes}) than those that are explored now "
            f"({known}).",
            "Use the version that wrote it.",
        )
    airflow = prepare(options.airflow or schedule.airflow)
    if schedule.airflow != airflow.version:
        _say(
            f"The schedule is of Airflow {schedule.airflow}: statements without a name may be "
            f"others in {airflow.version}."
        )
    return replace(schedule, airflow=airflow.version), airflow


def _say(line: str) -> None:
    logging.getLogger("explore").info("%s", line)


@pipe.reporting
def main() -> int:
    """Run one command; return its exit code, as the help has it."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        return pipe.in_labs(_parser().parse_args())
    except BrokenPipeError:
        raise
    except OSError as error:  # a full disk, say; 1 would say that something was found
        raise UserError(f"{error.filename or 'Something'}: {error.strerror or error}.") from error


if __name__ == "__main__":
    sys.exit(pipe.run(main))
