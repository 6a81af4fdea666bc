"""A bisect that is killed in its third session, when one of two runs has been judged.

    python -m tests.reports.campaigns.killed FOLDER

Sessions are written, not run: 3.2.0 is the first fixed release. What was asked is in FOLDER/asked.
"""

import os
import signal
import sys
from pathlib import Path

from reports.campaigns.search import Turn, search
from reports.campaigns.sessions import Plan
from reports.campaigns.state import SCHEMA, Sessions, State, open_state
from reports.campaigns.step import StopRule
from reports.store import Runs, read_runs
from tests.reports.matrix.told import keep, known, record, shown

RELEASES = ["3.0.6", "3.1.0", "3.1.8", "3.2.0", "3.2.1", "3.3.0", "3.3.2"]


def bisect(folder: Path, *, dies_at: int = 0) -> Turn:
    """Search, with one run a session, and die in the session of this number."""
    path = folder / "57618.json"
    asked = State(
        schema=SCHEMA,
        plan=Plan(seed=7, scenarios=("57618",)),
        rule=StopRule(),
        ends=["3.0.6", "3.3.2"],
    )
    state = open_state(path, asked, seed_given=True)
    log = folder / "asked"

    def ask(plan: Plan, airflow: str, into: Path) -> Runs:
        with log.open("a") as file:
            file.write(f"{airflow}\n")
        number = len(log.read_text().split())
        run = record(airflow=airflow, seed=plan.seed, race=known(affected=False))
        if airflow < "3.2":
            run = shown(airflow=airflow, seed=plan.seed)
        made = keep(into, number, run)
        if number == dies_at:
            os.kill(os.getpid(), signal.SIGKILL)
        return read_runs([made])

    return search(
        RELEASES,
        Sessions(path, state, ask=ask, named=lambda _, spec: f"{spec}-key").judge,
        fixed=True,
    )


if __name__ == "__main__":
    bisect(Path(sys.argv[1]), dies_at=int(sys.argv[2]))
