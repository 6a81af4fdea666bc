"""`python -m recorder remove`: take the recorder out of a database in which a killed run left it.

`try` finds out whether it could be put there.
"""

import argparse
import sys
from collections.abc import Sequence

from common import pipe
from common.database import DSN_VARIABLE, dsn
from recorder import audit

_PATIENCE = 15.0


@pipe.reporting
def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; 0 done, 2 it could not be."""
    parser = argparse.ArgumentParser(
        prog="python -m recorder",
        description="Looks after the recorder's schema `oracle` in the database that "
        f"{DSN_VARIABLE} names (libpq conninfo or URL). A schema that is not ours is left alone.",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    commands.add_parser("remove", help="take the recorder out of a database").set_defaults(
        work=audit.remove
    )
    commands.add_parser(
        "try",
        help="find out whether the recorder could be put into a database",
        description="Do all that the recorder's installation does but for its triggers, in a "
        "transaction that is rolled back.",
    ).set_defaults(work=audit.rehearse)
    options = parser.parse_args(arguments)
    options.work(dsn(), _PATIENCE)
    return 0


if __name__ == "__main__":
    sys.exit(pipe.run(main))
