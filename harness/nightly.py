"""What a night tests: prints the jobs of .github/workflows/nightly.yml as a GitHub matrix.

The newest patch of every line of Airflow 3 and the pre-releases are the question; releases
known to have a race are the suite's own check (--expect-known): a night in which they stay clean
is a red one.

examples:
  python -m harness.nightly
  python -m harness.nightly --lab embedded --schedulers 2 --airflow 3.3.2
"""

import argparse
import json
import logging
import sys
from collections.abc import Iterable
from dataclasses import asdict, dataclass

import requests
import yaml
from packaging.version import InvalidVersion, Version

from common.errors import UserError
from common.pipe import reporting
from harness.markers import scenarios
from lab.environments import pins
from lab.environments.releases import candidates, newest_patches
from lab.kind.helm.chart import BY_LINE, NEWEST, REPOSITORY
from scenarios.scenario import Scenario

MOST_JOBS = 256
"""GitHub's limit on the jobs of one matrix."""

CHART_TIMEOUT = 30.0
CHART_FALLBACK = NEWEST

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Job:
    """One job of the night, by an id fit for a file's name; `chart` is empty where none is used."""

    id: str
    lab: str
    airflow: str
    chart: str
    schedulers: int
    expect_known: bool


def known_bad(known: Iterable[Scenario], newest: Version) -> set[str]:
    """Return the newest pinned release of every line that has a race which `newest` has not.

    A race that the newest release still has is a question, not a check of the suite; so is one that
    only a later pre-release has.
    """
    worst: dict[tuple[str, int, int], str] = {}
    for scenario in known:
        if not scenario.affects(str(newest)):
            for version in filter(scenario.affects, pins.pinned()):
                parsed = Version(version)
                if parsed > newest:
                    continue
                worst[scenario.name, parsed.major, parsed.minor] = version
    return set(worst.values())


def newest_chart(repository: str, fallback: str) -> str:
    """Return the newest release in the chart repository's index.yaml.

    The fallback is taken, and said to be, where the index cannot be read.
    """
    try:
        answer = requests.get(f"{repository}/index.yaml", timeout=CHART_TIMEOUT)
        answer.raise_for_status()
        entries = yaml.safe_load(answer.text)["entries"]["airflow"]
        found = [Version(str(each["version"])) for each in entries if not each.get("deprecated")]
        return str(max(version for version in found if not version.is_prerelease))
    except (requests.RequestException, yaml.YAMLError, InvalidVersion) as error:
        reason = str(error)
    except (KeyError, TypeError, ValueError) as error:
        reason = f"it is no index of charts ({error!r})"
    log.warning("The newest chart is not known, taking %s: %s", fallback, reason)
    return fallback


def jobs(
    versions: list[str], bad: set[str], labs: list[str], charts: list[str], schedulers: list[int]
) -> list[Job]:
    """Return every combination once; UserError where GitHub would not take so many."""
    made = [
        Job(
            id=f"airflow-{version}-{lab}-{f'chart-{chart}-' if chart else ''}schedulers-{count}",
            lab=lab,
            airflow=version,
            chart=chart,
            schedulers=count,
            expect_known=version in bad,
        )
        for version in sorted({*versions, *bad}, key=Version)
        for lab in labs
        for chart in (charts if lab == "kind" else [""])
        for count in schedulers
    ]
    if not 0 < len(made) <= MOST_JOBS:
        raise UserError(
            f"The night would have {len(made)} jobs; GitHub takes 1 to {MOST_JOBS}.",
            "Ask for fewer versions, charts or numbers of schedulers.",
        )
    return made


@reporting
def main(arguments: list[str] | None = None) -> int:
    """Print the matrix and return the exit code: 0, or 2 for what its user can mend."""
    options = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    made = _night(options)
    log.info("%d jobs: Airflow %s", len(made), ", ".join(dict.fromkeys(j.airflow for j in made)))
    print(json.dumps({"include": [asdict(job) for job in made]}))
    return 0


def _night(options: argparse.Namespace) -> list[Job]:
    if options.airflow:
        patches, versions = [], sorted(map(Version, options.airflow))
    else:
        patches = newest_patches()
        versions = [*patches, *candidates(patches)]
    bad = known_bad(scenarios().values(), max(patches or versions))
    newest = newest_chart(options.chart_repository, options.chart_fallback)
    charts = list(dict.fromkeys([*options.chart_version, newest]))
    names = [str(version) for version in versions]
    return jobs(names, bad, options.lab, charts, options.schedulers)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m harness.nightly",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add(
        "--airflow",
        nargs="+",
        default=[],
        type=_version,
        metavar="V",
        help="instead of the newest patches and pre-releases that the package index has",
    )
    add("--lab", nargs="+", choices=["embedded", "kind"], default=["embedded", "kind"])
    add("--schedulers", nargs="+", type=int, default=[2, 3], metavar="N", help="default: 2 3")
    add(
        "--chart-version",
        nargs="*",
        default=[min(BY_LINE.values(), key=Version)],
        metavar="V",
        help="beside the newest (default: %(default)s)",
    )
    add("--chart-repository", default=REPOSITORY, metavar="URL", help="default: %(default)s")
    add(
        "--chart-fallback",
        default=CHART_FALLBACK,
        metavar="V",
        help="taken for the newest where the repository does not answer (default: %(default)s)",
    )
    return parser


def _version(text: str) -> str:
    try:
        return str(Version(text))
    except InvalidVersion:
        raise argparse.ArgumentTypeError(f"{text!r} is not a valid version") from None


if __name__ == "__main__":
    sys.exit(main())
