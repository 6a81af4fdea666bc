"""Decides from what sessions left behind whether a release may go out.

  0  safe: everything asked for was done, and no promise was broken; or safe but for N accepted
     risks: the policy accepts each broken promise by name
  1  not safe: a promise was broken, or it is slower than the last release beyond doubt
  2  cannot tell: something is missing, unknown or unreadable, or the suite missed a race that is
     known to be there

The first lines say what is new, and apart from that which known races showed themselves; what is
known and accepted by name never hides what is new, and does not change the exit code.

A violation counts whatever ran later; an unknown verdict counts until the same test gives a verdict
in the same environment; a skipped test counts for nothing. The policy says what is accepted,
until when, and why.

examples:
  python -m reports gate reports/runs
  python -m reports gate reports/runs --airflow 3.3.2 --out gate
  python -m reports gate night1/ night2/ --policy my-policy.yaml --against 3.2.0
"""

import argparse
import sys
from datetime import date
from pathlib import Path

from common.errors import UserError
from common.files import write_whole
from reports.gate.checks import decide, with_allure
from reports.gate.decision import Decision
from reports.gate.outputs import junit, markdown, write
from reports.gate.policy import read_policy
from reports.store import read_runs
from run.folder import write_json

POLICY = Path("reports/policy.yaml")


def add(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument(
        "runs", nargs="+", type=Path, metavar="RUNS", help="run folders, or folders of them"
    )
    parser.add_argument(
        "--policy", type=Path, default=POLICY, metavar="FILE", help="default: %(default)s"
    )
    parser.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help="write gate.json, gate.xml (JUnit) and gate.md (for a pull request) there",
    )
    parser.add_argument(
        "--airflow",
        action="append",
        default=[],
        metavar="VERSION",
        help="gate this version only; repeatable (default: all that are not the suite's own check)",
    )
    parser.add_argument(
        "--against",
        default="",
        metavar="VERSION",
        help="compare the speed with this one (default: the last release before it in the runs)",
    )
    parser.add_argument(
        "--allure", action="store_true", help="ask Allure's own quality gate as well"
    )
    parser.add_argument("-q", "--quiet", action="store_true", help="print only the answer")


def run(options: argparse.Namespace) -> int:
    """Decide, write the answer down, and return the exit code."""
    today = date.today()
    policy = read_policy(options.policy, today)
    runs = read_runs(options.runs)
    decision = decide(runs, policy, today, airflow=options.airflow, against=options.against)
    if options.allure:
        decision = with_allure(decision, runs)
    write(decision, sys.stdout, quiet=options.quiet)
    if options.out:
        _keep(decision, options.out)
    return decision.exit_code


def _keep(decision: Decision, out: Path) -> None:
    """Write the answer down, each file whole; UserError where that is not possible."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        write_json(out / "gate.json", decision.to_json())
        write_whole(out / "gate.xml", junit(decision))
        write_whole(out / "gate.md", markdown(decision))
    except OSError as error:
        raise UserError(
            f"The answer cannot be written to {out}: {error.strerror}.", "Give another --out."
        ) from error
    print(f"written: {out / 'gate.json'}, {out / 'gate.xml'}, {out / 'gate.md'}")
