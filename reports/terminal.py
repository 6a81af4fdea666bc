"""Tables for a terminal: coloured where its user wants that, and plain text in a pipe."""

import os
from typing import TextIO

from rich.console import Console
from rich.table import Table
from rich.text import Text

UNLIMITED = 10_000
"""Characters; a width at which nothing is wrapped."""


def coloured(out: TextIO) -> bool:
    """Tell whether colours are wanted: on a terminal, unless NO_COLOR is set."""
    return out.isatty() and not os.environ.get("NO_COLOR")


def grid(gap: int) -> Table:
    """Return a table without lines, of columns that are `gap` characters apart."""
    return Table.grid(padding=(0, gap, 0, 0), pad_edge=False)


def rendered(table: Table | Text, *, colour: bool, width: int = UNLIMITED) -> str:
    """Return the lines of a table or text: no wider than `width`, no spaces at their ends."""
    console = Console(
        width=width,
        color_system="standard" if colour else None,
        force_terminal=colour,
        markup=False,
        highlight=False,
        emoji=False,
    )
    with console.capture() as captured:
        console.print(table)
    return "".join(f"{line.rstrip()}\n" for line in captured.get().splitlines())
