"""Writes a judged run down: the verdict for the gate, the witness for people, and its figures."""

from typing import Any

import msgspec

from common.redaction import redact
from harness.outcome import Known
from oracle import witness
from oracle.verdict import Judgement
from reports.metrics import METRICS, measure
from reports.records import SCHEMA
from run.folder import write_json
from run.run import Run


def publish(
    run: Run, judgement: Judgement, nodeid: str, known: Known | None, expect_known: bool
) -> dict[str, Any]:
    """Write verdict.json, witness.txt and metrics.json; return what the summary needs.

    The verdict comes first: whatever fails after it cannot take it away.
    """
    version = run.lab.airflow.version
    record = {
        "schema": SCHEMA,
        "test": nodeid,
        **judgement.to_json(),
        "airflow": run.lab.airflow.label,
        "version": version,
        "build": run.lab.airflow.build,
        "packages": dict(run.lab.airflow.packages),
        "drivers": list(run.lab.airflow.drivers),
        "lab": run.lab.kind,
        "schedulers": len(run.lab.schedulers),
        "workers": run.lab.workers,
        "boot": run.lab.boot,
        "seed": run.seed,
        "known": msgspec.to_builtins(known.of(version)) if known else None,
        "expect_known": expect_known,
    }
    text = redact(witness.text(judgement))
    write_json(run.folder / "verdict.json", record)
    (run.folder / "witness.txt").write_text(text or "No promise was broken.\n")
    figures = measure(run.folder / "history.ndjson")
    write_json(run.folder / METRICS, msgspec.to_builtins(figures))
    return {**record, "witness": text, "folder": str(run.folder)}
