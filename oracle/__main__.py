"""`python -m oracle check HISTORY`: judge a stored history, with no lab and no Airflow."""

import argparse
import math
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec

from oracle import witness
from oracle.history import HistoryError, Reading
from oracle.invariants import INVARIANTS
from oracle.old_names import COMMANDS
from oracle.verdict import Judge, Judgement

EXIT_CODES = {"valid": 0, "invalid": 1, "unknown": 2}

EPILOG = """\
exit codes:
  0  valid: no promise was broken, and every assumption behind that was met
  1  invalid: a promise was broken; --witness shows how
  2  unknown: the history proves nothing, or cannot be read

examples:
  python -m oracle check reports/runs/latest/history.ndjson
  python -m oracle check --witness reports/runs/latest/history.ndjson
  python -m oracle check --json history.ndjson | jq .violations

the promises:
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return its exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if given and given[0] in COMMANDS:
        moved = [sys.executable, "-m", *COMMANDS[given[0]], *given[1:]]
        os.execv(moved[0], moved)
    options = _parser().parse_args(given)
    try:
        judgement = check(options.history, options.bound)
    except HistoryError as error:
        if options.json:
            print(_json({"verdict": "unknown", "reasons": [str(error)]}))
        print(f"unknown: {error}", file=sys.stderr)
        return EXIT_CODES["unknown"]
    except KeyboardInterrupt:
        return 130
    print(_json(judgement.to_json()) if options.json else "\n".join(_report(judgement)))
    if options.witness and not options.json and judgement.violations:
        print("\n" + witness.text(judgement), end="")
    return EXIT_CODES[judgement.verdict]


def check(path: Path, bound: float | None = None) -> Judgement:
    """Judge a stored history. Raises HistoryError if it cannot be read to its end.

    What such a history shows before it breaks off is no verdict, but is mentioned in the error.
    """
    reading = Reading(path)
    judge = Judge(reading.header, bound, reading.latest if reading.twice else None)
    seen = 0
    try:
        for _ in judge.over(reading.events()):
            seen += 1
    except HistoryError as error:
        until = f" ({seen} violations until there)" if seen else ""
        raise HistoryError(f"{error}{until}") from None
    return judge.conclude()


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 0 < seconds < math.inf:
        raise argparse.ArgumentTypeError(f"{text} is not a number of seconds above 0")
    return seconds


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m oracle",
        description="Says from a recorded history alone whether Airflow kept its promises.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    promises = "\n".join(f"  {kind.name:<22} {kind.promise}" for kind in INVARIANTS)
    command = commands.add_parser(
        "check",
        help="judge a stored history",
        description="Feed a history (NDJSON, as a run leaves it) to every invariant.",
        epilog=EPILOG + promises,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_argument(
        "history", metavar="HISTORY", type=Path, help="the history.ndjson of a run"
    )
    command.add_argument(
        "--witness", action="store_true", help="show how the clearest violation came about"
    )
    command.add_argument("--json", action="store_true", help="print the verdict as JSON")
    command.add_argument(
        "--bound",
        metavar="SECONDS",
        type=_seconds,
        help="after so long without any change, a run that has not ended counts as lost "
        "(default: 60)",
    )
    return parser


def _report(judgement: Judgement) -> list[str]:
    counts = judgement.counts
    lines = [
        f"{judgement.verdict}: Airflow {judgement.header.airflow} in lab {judgement.header.lab}, "
        f"{counts.runs} runs, {counts.task_instances} task instances, {counts.pods} pods"
    ]
    lines += [f"  {reason}" for reason in judgement.reasons]
    for name, number in judgement.by_invariant.items():
        if number:
            example = next(v for v in judgement.violations if v.invariant == name)
            times = f"{number} violation{'s' if number > 1 else ''}, first"
            lines.append(f"  {name}: {times} at {example.t:.3f} s: {example.message}")
    lines += [f"  {name}: not judged, {why}" for name, why in judgement.not_judged.items()]
    lines += [f"  not covered: {each}" for each in judgement.header.not_covered]
    return [*lines, f"  judged: {_judged(judgement)}"]


def _judged(judgement: Judgement) -> str:
    """Say how much each invariant judged, those together that judge the same."""
    groups: dict[str, list[str]] = {}
    for kind in INVARIANTS:
        if kind.name not in judgement.not_judged:
            named = f"{kind.name} {judgement.judged[kind.name]}"
            groups.setdefault(kind.units(), []).append(named)
    parts = (f"{units}: {', '.join(names)}" for units, names in groups.items())
    return "; ".join(parts) or "nothing"


def _json(value: object) -> str:
    return msgspec.json.format(msgspec.json.encode(value)).decode()


if __name__ == "__main__":
    try:
        code = main()
        sys.stdout.flush()
    except BrokenPipeError:
        # Who reads went early, as `head` does: what a shell has it of SIGPIPE, never a verdict.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 141
    sys.exit(code)
