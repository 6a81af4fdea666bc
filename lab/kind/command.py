"""`python -m lab tools`: fetch kind and Helm."""

import argparse
from typing import Any

from common.errors import UserError
from lab.kind.fetch import artifacts, fetch
from lab.kind.tools import engine

_ABOUT = """\
Fetch kind and helm, of a pinned release each, into the cache, where `--lab kind` looks before PATH.
What is fetched must have the checksum that is written in lab/kind/fetch.py. Docker you install
yourself; whether its engine answers is said.
"""


def add_parser(commands: "argparse._SubParsersAction[Any]") -> None:
    """Add the command `tools` to those of `python -m lab`."""
    commands.add_parser(
        "tools",
        help="fetch kind and helm, which --lab kind needs",
        description=_ABOUT,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def run(options: argparse.Namespace) -> int:  # noqa: ARG001
    """Fetch what is missing and say where it is; UserError when it cannot be had."""
    for artifact in artifacts():
        print(f"{artifact.program:<7} {artifact.version:<9} {fetch(artifact)}")
    try:
        client = engine()
    except UserError as error:
        print(f"docker  missing   {error}")
        return 0
    print(f"docker  {client.version()['Version']:<9} answers at {client.api.base_url}")
    client.close()
    return 0
