"""Shows all known races in one table: who has each, where it was seen, what to do meanwhile.

examples:
  python -m reports races                          what was seen so far
  python -m reports races reports/runs --write     take up newer runs, and write docs/races.md
"""

import argparse
import sys
from pathlib import Path

from common.files import write_whole
from common.paths import PROJECT
from reports.races import known_races, page, read_seen, renewed, seen_in, write_seen
from reports.store import read_runs

PAGE = PROJECT / "docs" / "races.md"


def add(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument(
        "runs", nargs="*", type=Path, metavar="RUNS", help="run folders, or folders of them"
    )
    parser.add_argument(
        "--write", action="store_true", help="keep what was seen, and write docs/races.md"
    )


def run(options: argparse.Namespace) -> int:
    """Print the table or write it down; return the exit code."""
    seen, races = read_seen(), known_races()
    if options.runs:
        runs = read_runs(options.runs)
        for problem in runs.problems:
            print(f"left out: {problem}", file=sys.stderr)
        seen = renewed(seen, seen_in(runs, races))
    text = page(races, seen)
    if not options.write:
        print(text, end="")
        return 0
    write_seen(seen)
    write_whole(PAGE, text)
    print(f"written: {PAGE.relative_to(PROJECT)}")
    return 0
