"""How fast the logs of a lab are redacted.

    .venv/bin/python -m benchmarks.redaction
    .venv/bin/python -m benchmarks.redaction --against ../another-checkout --megabytes 20

The log is made up of lines as Airflow's daemons, its workers and PostgreSQL write them, among them
URLs and words such as `token` and `key`. Each turn redacts it with this checkout and then with the
other, in a process of its own; best is the turn with the least CPU time.
"""

import argparse
import io
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

HERE = Path(__file__).parent.parent
TURNS = 3
KNOWN = 12
"""Values that are looked for literally, as of a lab with a dozen secrets."""

_LINES = (
    "LOG:  process {n} still waiting for ShareLock on transaction {n} after 1000.123 ms",
    "INFO - TaskInstance Finished: dag_id=shape_{n}, task_id=start, run_id=scheduled__2026-11-22T00"
    ":00:00+00:00, map_index=-1, state=success, executor=KubernetesExecutor(parallelism=32)",
    '{{"timestamp":"2026-11-22T12:05:38Z","level":"info","event":"HTTP Request: PATCH '
    'http://127.0.0.1:8080/execution/task-instances/{n}/state","logger":"httpx"}}',
    '{{"timestamp":"2026-11-22T12:05:38Z","level":"info","event":"{n}","logger":"task.stdout"}}',
    "STATEMENT:  SELECT task_instance.id, task_instance.task_id FROM task_instance JOIN dag_run ON "
    "dag_run.dag_id = task_instance.dag_id WHERE task_instance.state IN ('scheduled') FOR UPDATE",
    "INFO - Adding to queue: command args=['ExecuteTask', '--json-path', 'x'] token=*** {n}",
    '  File "site-packages/airflow/jobs/scheduler_job_runner.py", line {n}, in _run_scheduler_loop',
    "DEBUG primary key lookup {n}; image apache/airflow:3.0.6@sha256:0123456789abcdef0123456789abc",
    "INFO - Event: pod shape-start-{n} Running, annotations: {{'dag_id': 'shape', 'try': '1'}}",
)


def lines(characters: int) -> Iterator[str]:
    """Yield the lines of a log of about so many characters, the same each time."""
    dice = random.Random(1)
    n = written = 0
    while written < characters:
        line = (
            f"2026-11-22 12:05:38.{n % 1000:03} UTC [{n % 300}] {dice.choice(_LINES).format(n=n)}"
        )
        line = line[line.index("{") :] if '{"timestamp"' in line else line
        yield line
        written += len(line) + 1
        n += 1


def measure(megabytes: int) -> float:
    """Return how many megabytes this checkout redacts in a second of CPU time."""
    from common.redaction import stream

    text = "\n".join(lines(min(megabytes, 10) * 1_000_000)) + "\n"
    repeated = max(1, round(megabytes * 1e6 / len(text)))
    pieces = iter([text[at : at + (1 << 20)] for at in range(0, len(text), 1 << 20)] * repeated)
    kept = io.StringIO()
    known = [f"known-Value-{number}-of-a-lab" for number in range(KNOWN)]
    begun = time.process_time()
    stream(lambda _: next(pieces, ""), lambda piece: kept.seek(0) or kept.write(piece), known)
    return repeated * len(text) / 1e6 / (time.process_time() - begun)


def _measured_in(checkout: Path, megabytes: int) -> float:
    """Return the same of another checkout, whose own modules are imported."""
    command = [sys.executable, __file__, "--megabytes", str(megabytes), "--here"]
    done = subprocess.run(
        command, env={"PYTHONPATH": str(checkout)}, capture_output=True, text=True, check=True
    )
    return float(done.stdout)


def main() -> int:
    """Print a line for each checkout."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--against", type=Path, metavar="CHECKOUT", help="another checkout")
    parser.add_argument("--megabytes", type=int, default=100, help="of the log (%(default)s)")
    parser.add_argument("--turns", type=int, default=TURNS, help="default: %(default)s")
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.here:
        print(measure(options.megabytes))
        return 0
    checkouts = {"this checkout": HERE} | (
        {"the other": options.against} if options.against else {}
    )
    best = dict.fromkeys(checkouts, 0.0)
    for _ in range(options.turns):
        for name, checkout in checkouts.items():
            best[name] = max(best[name], _measured_in(checkout.resolve(), options.megabytes))
    for name, speed in best.items():
        print(f"{name}: {speed:.1f} MB/s of CPU time, {options.megabytes} MB, {KNOWN} known values")
    return 0


if __name__ == "__main__":
    sys.exit(main())
