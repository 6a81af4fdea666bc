"""Shows what runs found (dashboard, timelines, races, matrix, bisect), and gates a release.

examples:
  python -m reports build
  python -m reports timeline reports/runs/latest
  python -m reports gate reports/runs --policy reports/policy.yaml
  python -m reports matrix --airflow all
  python -m reports bisect --scenario 57618 --good 3.3.2 --bad 3.0.6
"""

import argparse
import importlib
import logging
import sys
from collections.abc import Sequence
from typing import Protocol, cast

from common import pipe

COMMANDS = {
    "build": ("reports.commands", "the dashboard of all runs: one folder of static pages"),
    "timeline": ("reports.commands", "draw one run's history"),
    "gate": ("reports.commands", "is this release safe? exits 0 (yes), 1 (no) or 2 (cannot tell)"),
    "races": ("reports.commands", "every known race in one table, with what to do meanwhile"),
    "matrix": ("reports.campaigns", "show which version has which race"),
    "bisect": ("reports.campaigns", "find the release that fixed a race, or introduced it"),
}
"""The commands: in which package the module of that name is, and what it does."""


class Command(Protocol):
    """A command's module; its docstring is what --help says."""

    def add(self, parser: argparse.ArgumentParser) -> None:
        """Declare its arguments."""

    def run(self, options: argparse.Namespace) -> int:
        """Do it; return the exit code."""


@pipe.reporting
def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return its exit code, 2 for what its user can mend."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    chosen = next((word for word in given if word in COMMANDS), None)
    plain = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(
        prog="python -m reports", description=__doc__, formatter_class=plain
    )
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, (package, summary) in COMMANDS.items():
        subparser = subparsers.add_parser(name, help=summary, formatter_class=plain)
        if chosen in (None, name):
            command = cast(Command, importlib.import_module(f"{package}.{name}"))
            subparser.description = command.__doc__
            subparser.set_defaults(run=command.run)
            command.add(subparser)
    options = parser.parse_args(given)
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    try:
        return cast(int, options.run(options))
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(pipe.run(main))
