"""Writes a judged run down: for the gate, for people, and for Allure."""

from pathlib import Path
from typing import Any

import allure

from harness.run import Run
from oracle.redaction import redact
from oracle.verdict import Judgement
from oracle.witness import tell
from reports.folder import write_json


def publish(run: Run, judgement: Judgement, nodeid: str) -> dict[str, Any]:
    """Write verdict.json and witness.txt, attach them, and return what the summary needs."""
    record = {
        "test": nodeid,
        **judgement.to_json(),
        "airflow": run.lab.airflow.label,
        "version": run.lab.airflow.version,
        "lab": run.lab.kind,
        "schedulers": len(run.lab.schedulers),
        "workers": run.lab.workers,
        "boot": run.lab.boot,
        "seed": run.seed,
    }
    witness = redact(tell(judgement))
    write_json(run.folder / "verdict.json", record)
    (run.folder / "witness.txt").write_text(witness or "No promise was broken.\n")
    _attach(run.folder)
    return {**record, "witness": witness, "folder": str(run.folder)}


def _attach(folder: Path) -> None:
    kinds = allure.attachment_type
    allure.attach.file(folder / "verdict.json", "verdict", kinds.JSON)
    allure.attach.file(folder / "witness.txt", "witness", kinds.TEXT)
    allure.attach.file(folder / "history.ndjson", "history", kinds.TEXT, "ndjson")
    for path in sorted((folder / "logs").glob("*.log")):
        allure.attach.file(path, path.stem, kinds.TEXT)
