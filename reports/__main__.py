"""`python -m reports`: what people look at, and the gate that holds a release."""

import argparse
import importlib
import logging
import sys
from collections.abc import Sequence
from typing import Protocol, cast

from common import pipe
from common.errors import UserError

CANNOT_TELL = 2

COMMANDS = {
    "build": "the dashboard of all runs: one folder of static pages",
    "timeline": "draw one run's history",
    "gate": "is this release safe? exits 0 (yes), 1 (no) or 2 (cannot tell)",
    "matrix": "run versions against scenarios, and show the table",
    "bisect": "find the first release that has, or has not, a race",
}

EPILOG = """\
examples:
  python -m reports build
  python -m reports timeline reports/runs/latest
  python -m reports gate reports/runs --policy reports/policy.yaml
  python -m reports matrix --airflow all
  python -m reports bisect --scenario 57618 --good 3.3.2 --bad 3.0.6
"""


class Command(Protocol):
    """A command's module, reports/commands/<name>.py."""

    DESCRIPTION: str
    EPILOG: str

    def add(self, parser: argparse.ArgumentParser) -> None:
        """Declare its arguments."""

    def run(self, options: argparse.Namespace) -> int:
        """Do it; return the exit code."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return its exit code, 2 for what its user can mend."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    chosen = next((word for word in given if word in COMMANDS), None)
    parser, subparsers = _parser()
    commands = {name: _load(name) for name in COMMANDS if chosen in (None, name)}
    for name, summary in COMMANDS.items():
        command = commands.get(name)
        subparser = subparsers.add_parser(
            name,
            help=summary,
            description=command.DESCRIPTION if command else None,
            epilog=command.EPILOG if command else None,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        if command:
            command.add(subparser)
    options = parser.parse_args(given)
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    try:
        return commands[options.command].run(options)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return CANNOT_TELL
    except KeyboardInterrupt:
        return 130


def _parser() -> tuple[
    argparse.ArgumentParser, "argparse._SubParsersAction[argparse.ArgumentParser]"
]:
    parser = argparse.ArgumentParser(
        prog="python -m reports",
        description=__doc__,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    return parser, parser.add_subparsers(dest="command", required=True, metavar="COMMAND")


def _load(name: str) -> Command:
    return cast(Command, importlib.import_module(f"reports.commands.{name}"))


if __name__ == "__main__":
    sys.exit(pipe.run(main))
