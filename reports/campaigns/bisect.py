"""Finds the first release in which a race is fixed, or broken where --good is older than --bad.

Its scenario is run on releases between the two. With --patch instead of --good, finds which of
several patches of one Airflow removes the race.

Both ends are tried first. One run that shows the race decides a release; a clean release takes as
many runs as --rate and --confidence ask for. A release that cannot be installed, or for which no
run gives a verdict, is skipped; if it is next to the answer, the answer is a range.

Releases are ordered by version. Airflow's lines overlap in time, and a fix that was backported
changes the answer more than once; one of these changes is found. The matrix shows all.

After Ctrl-C, or a SIGKILL, the same command goes on.

examples:
  python -m reports bisect --scenario 57618 --good 3.3.2 --bad 3.0.6
  python -m reports bisect --scenario 57618 --good 3.3.2 --bad 3.0.6 --pinned --dry-run
  python -m reports bisect --scenario 57618 --bad 3.1.8 --patch guard=~/src/a --patch joins=b.whl

Exits 0 with an answer, 2 when it cannot tell (skipped releases, ends that do not differ).
"""

import argparse
import logging
import re
import shlex
from pathlib import Path

from packaging.version import Version

from common.errors import UserError
from common.paths import path_of
from lab.environments.pins import pinned
from lab.environments.releases import newest_below
from lab.environments.request import describe
from reports.campaigns.search import compare_patches, most_steps, search
from reports.campaigns.sessions import add_place, command, plan_of
from reports.campaigns.state import BISECTS, SCHEMA, Sessions, State, open_state, save
from reports.campaigns.step import StopRule
from reports.records import scenario_names
from reports.statistics import Sequential

log = logging.getLogger(__name__)

CANNOT_TELL = 2


def add(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    names = ", ".join(scenario_names())
    parser.add_argument("--scenario", required=True, metavar="NAME", help=f"one of {names}")
    parser.add_argument("--bad", required=True, metavar="SPEC", help="an Airflow that has the race")
    parser.add_argument("--good", metavar="VERSION", help="a release that does not have it")
    parser.add_argument(
        "--patch",
        action="append",
        type=_patch,
        default=[],
        metavar="NAME=SPEC",
        help="--bad with one patch: a wheel, a source checkout or a Python; repeatable",
    )
    parser.add_argument("--pinned", action="store_true", help="only releases that are pinned")
    parser.add_argument("--pre", action="store_true", help="release candidates and betas, too")
    add_place(parser)
    default = StopRule()
    parser.add_argument(
        "--rate",
        type=float,
        default=default.rate,
        help="the share of runs in which an affected release shows it, at least (%(default)s)",
    )
    parser.add_argument(
        "--confidence",
        type=float,
        default=default.confidence,
        help="with which a release is called clean (%(default)s)",
    )
    parser.add_argument(
        "--name",
        help=f"of the file in {BISECTS.parent.name}/{BISECTS.name} that keeps what was run",
    )
    parser.add_argument("--dry-run", action="store_true", help="show the plan, and run nothing")


def _patch(text: str) -> tuple[str, str]:
    name, equals, spec = text.partition("=")
    if not (name and equals and spec):
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=SPEC, such as guard=~/src/airflow")
    return name, str(path_of(spec)) if "/" in spec else spec


def run(options: argparse.Namespace) -> int:
    """Search, or compare patches; or show the plan."""
    if bool(options.good) == bool(options.patch):
        raise UserError("Give either --good, or patches.", "See: python -m reports bisect --help")
    try:
        Sequential(options.rate, options.confidence)
    except ValueError as error:
        raise UserError(f"{str(error).capitalize()}.") from error
    path, state = _state(options)
    return _compare(options, path, state) if options.patch else _search(options, path, state)


def _state(options: argparse.Namespace) -> tuple[Path, State]:
    """Return the bisect's file and state: an earlier one's, or a new one's."""
    patches = [f"{name}={spec}" for name, spec in options.patch]
    asked = State(
        schema=SCHEMA,
        plan=plan_of(options, [options.scenario]),
        rule=StopRule(options.rate, options.confidence),
        ends=[options.bad, *([options.good] if options.good else []), *patches],
    )
    others = [options.good] if options.good else [name for name, _ in options.patch]
    words = [options.scenario, options.lab, options.bad, *others]
    name = options.name or re.sub(r"[^A-Za-z0-9.]+", "-", "-".join(words)).strip("-")
    path = BISECTS / f"{name}.json"
    return path, open_state(path, asked, seed_given=options.seed is not None)


def _search(options: argparse.Namespace, path: Path, state: State) -> int:
    bad, good = (_release(spec) for spec in (options.bad, options.good))
    if bad == good:
        raise UserError("--good and --bad are the same release.", "Give two that differ.")
    low, high = sorted([bad, good])
    key = f"{'pinned' if options.pinned else 'published'}{' with candidates' * options.pre}"
    if key not in state.releases:
        state.releases[key] = [str(version) for version in _releases(low, high, options)]
    releases = state.releases[key]
    log.info("%d releases, %s: %s", len(releases), key, ", ".join(releases))
    log.info("At most %d are tried; seed %d", most_steps(len(releases)), state.plan.seed)
    if options.dry_run:
        print(shlex.join(command(state.plan, releases[(len(releases) - 1) // 2])))
        return 0
    save(path, state)
    judge = Sessions(path, state).judge
    found = search(releases, judge, fixed=good > bad, known=tuple(state.steps.values()))
    print(*(step.text() for step in found.steps), *found.oddities, found.text(), sep="\n")
    return 0 if found.clear else CANNOT_TELL


def _release(spec: str) -> Version:
    request = describe(spec)
    if request.kind != "version":
        raise UserError(f"{spec} is not a release.", "For wheels and checkouts there is --patch.")
    return Version(request.version)


def _releases(low: Version, high: Version, options: argparse.Namespace) -> list[Version]:
    """Return the ends and what is to be searched between them, in order."""
    if not options.pinned:
        return published(low, high, candidates=options.pre)
    inside = [version for version in map(Version, pinned()) if low < version < high]
    return [low, *(v for v in inside if options.pre or not v.is_prerelease), high]


def published(low: Version, high: Version, *, candidates: bool = False) -> list[Version]:
    """Return `low`, `high` and the releases between them in order, final ones or `candidates` too.

    uv is asked for the newest below one, again and again: it speaks to the index with the user's
    own settings, and passes over what was yanked. A release's own candidates are not `<` it (PEP
    440): they are asked for as below one more. Raises UserError if the index does not answer.
    """
    found = [high]
    while True:
        more = "rc9999" if candidates and not found[-1].is_prerelease else ""
        below = newest_below(f"{found[-1]}{more}", candidates=candidates)
        if below is None or below <= low:
            return [low, *reversed(found)]
        found.append(below)


def _compare(options: argparse.Namespace, path: Path, state: State) -> int:
    patches = dict(options.patch)
    if len(patches) < len(options.patch):
        raise UserError("Two patches have the same name.", "Name each one otherwise.")
    specs = [options.bad, *patches.values()]
    for spec in specs:
        describe(spec)
    if options.dry_run:
        for number, spec in enumerate(specs, 1):
            print(f"{number}. {shlex.join(command(state.plan, spec))}")
        return 0
    save(path, state)
    compared = compare_patches(options.bad, patches, Sessions(path, state).judge)
    print(compared.text())
    return 0 if compared.clear else CANNOT_TELL
