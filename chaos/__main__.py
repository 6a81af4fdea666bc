"""`python -m chaos remove`: take holds and delays out of a database, whoever put them there."""

import argparse
import sys

from chaos.holds import installer as holds
from common import pipe
from common.database import DSN_VARIABLE, dsn


@pipe.reporting
def main() -> int:
    """Run the command line; 0 done, 2 it could not be."""
    parser = argparse.ArgumentParser(
        prog="python -m chaos",
        description="Takes the schema `chaos` and its policies out of an Airflow database; one "
        "that is not ours is left alone. "
        f"{DSN_VARIABLE} holds the database's libpq conninfo or URL.",
    )
    parser.add_argument("command", choices=["remove"])
    parser.parse_args()
    try:
        holds.remove(dsn(), timeout=8.0)
    except holds.NotOurs as error:
        print(f"Nothing of ours is there. {error.message}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
