"""The command line of the environments: list, prepare, pin."""

import argparse
import logging
import sys
from datetime import date, datetime

from common import pipe
from lab.environments import pins, store
from lab.environments.preparation import pin, prepare
from lab.environments.releases import midnight

EPILOG = """\
examples:
  python -m lab.environments list
  python -m lab.environments prepare 3.0.6
  python -m lab.environments prepare ./dist/apache_airflow_core-3.2.0-py3-none-any.whl
  python -m lab.environments prepare ~/src/airflow
  python -m lab.environments pin 3.1.2
  python -m lab.environments pin 3.1.1 --constraint structlog==25.4.0
"""


@pipe.reporting
def main(arguments: list[str] | None = None) -> int:
    """Run one command and return its exit code: 0, or 2 for what its user can mend."""
    options = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    if options.command == "list":
        _list()
    elif options.command == "prepare":
        _prepare(options.spec)
    else:
        print(pin(options.version, options.exclude_newer, tuple(options.constraint)))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m lab.environments",
        description="Makes and pins the environments that Airflow runs in.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("list", help="show the pinned versions and what is cached")
    one = commands.add_parser("prepare", help="make the environment of a --airflow SPEC")
    one.add_argument("spec", help="a version, wheels, a checkout, or a Python that has Airflow")
    another = commands.add_parser("pin", help="write versions/VERSION.txt, and start it once")
    another.add_argument("version", help="a published version, 3.0.0 or later")
    another.add_argument(
        "--exclude-newer",
        metavar="INSTANT",
        type=_instant,
        help="only what was published before it, such as 2025-08-30T00:00:00Z; a bare day begins "
        "at midnight UTC (default: the end of the day of the release)",
    )
    another.add_argument(
        "--constraint",
        metavar="NAME==VERSION",
        action="append",
        default=[],
        help="hold one package, where the release day's version breaks Airflow; repeatable",
    )
    return parser


def _instant(text: str) -> datetime:
    try:
        if len(text) == len("2025-08-30"):
            return midnight(date.fromisoformat(text))
        instant = datetime.fromisoformat(text)
    except ValueError:
        instant = None
    if instant is None or instant.tzinfo is None:
        raise argparse.ArgumentTypeError(f"{text!r} is not an instant such as 2025-08-30T00:00:00Z")
    return instant


def _prepare(spec: str) -> None:
    airflow = prepare(spec)
    print(f"airflow     {airflow.version}")
    print(f"python      {airflow.python}")
    print(f"build       {airflow.build}, over {' and '.join(airflow.drivers)}")
    if airflow.pythonpath:
        print(f"pythonpath  {':'.join(str(path) for path in airflow.pythonpath)}")


def _list() -> None:
    print("pinned:", " ".join(pins.pinned()) or "none")
    print(f"cached in {store.environments_dir()}:")
    for folder in store.folders():
        print(f"  {store.folder_size(folder) / 1e6:6.0f} MB  {folder.name}")


if __name__ == "__main__":
    sys.exit(pipe.run(main))
