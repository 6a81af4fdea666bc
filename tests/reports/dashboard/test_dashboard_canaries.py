"""No secret that a run holds comes into the report, of whatever kind and wherever planted."""

import base64
import json
import os
import sys
import zlib
from pathlib import Path

import pytest

from reports.allure import node
from tests import forked
from tests.canaries import ALL, WITHOUT_REDACTION, planted, unpacked
from tests.labs import at_night
from tests.reports.dashboard.folders import CLEAN, RACE, make_run
from tests.system.projects import make_project

PLACES = ("reason", "unknown", "witness", "note")
CANARIES = {place: planted(place) for place in PLACES}


def plant(run: Path) -> None:
    """Put the secrets into everything that a run leaves in words."""
    texts = {
        place: [each.text for each in canaries.values()] for place, canaries in CANARIES.items()
    }
    session = json.loads((run / "session.json").read_text())
    for number, text in enumerate(texts["reason"]):
        name = f"suites/test_lost.py::test_lost[{number}]"
        session["collected"].append(name)
        session["tests"][name] = {"outcome": "crashed", "seconds": 0.0, "reason": text}
    (run / "session.json").write_text(json.dumps(session))
    for path in run.glob("tests/*/verdict.json"):
        reasons = json.dumps(texts["unknown"])[1:-1]
        path.write_text(path.read_text().replace('"reasons":[', f'"reasons":[{reasons}', 1))
    for path in run.glob("tests/*/witness.txt"):
        path.write_text("\n".join([path.read_text(), *texts["witness"], "end: x"]))
    for path in run.glob("tests/*/history.ndjson"):
        *events, end = path.read_text().splitlines()
        events += [json.dumps({"kind": "note", "t": 7.0, "text": text}) for text in texts["note"]]
        path.write_text("\n".join([*events, end]) + "\n")


def found(out: Path) -> dict[tuple[str, str], str]:
    """Return the secrets that are in a report, by place and kind, and a file that has each."""
    seen = {}
    for path in out.rglob("*"):
        if path.is_file():
            whole = b"\n".join(unpacked(path.read_bytes()))
            for place, canaries in CANARIES.items():
                for kind, made in canaries.items():
                    if any(part.encode() in whole for part in made.parts):
                        seen[place, kind] = str(path.relative_to(out))
    return seen


def build(folder: Path, *options: str, redacted: bool) -> Path:
    """Build the report of two runs that hold secrets, as a user does; return its folder."""
    runs = folder / "runs"
    plant(make_run(runs, "3.0.6", RACE, started="20261120-060000"))
    plant(make_run(runs, "3.3.2", CLEAN, started="20261121-060000", unknown=True))
    project = make_project(folder / "project", "")
    if not redacted:
        with (project / "common" / "redaction.py").open("a") as module:
            module.write(WITHOUT_REDACTION)
    modules = Path(__file__).resolve().parents[3] / "reports" / "node_modules"
    if modules.exists():
        (project / "reports" / "node_modules").symlink_to(modules)
    out = folder / "site"
    command = [sys.executable, "-m", "reports", "build", str(runs), "--out", str(out), *options]
    done = forked.run(command, cwd=project, env=dict(os.environ), timeout=960)
    assert done.returncode == 0, done.stdout + done.stderr
    return out


@pytest.mark.parametrize("allure", [False, True], ids=["alone", "with-allure"])
def test_no_secret_comes_into_the_report(tmp_path: Path, allure: bool) -> None:
    if allure and node.missing():
        pytest.skip(node.missing() or "")
    out = build(tmp_path, *([] if allure else ["--no-allure"]), redacted=True)
    assert "***" in (out / "index.html").read_text()
    assert (out / "allure").exists() == allure
    assert found(out) == {}


@at_night
@pytest.mark.parametrize("allure", [False, True], ids=["alone", "with-allure"])
def test_without_redaction_every_secret_comes_into_the_report(tmp_path: Path, allure: bool) -> None:
    if allure and node.missing():
        pytest.skip(node.missing() or "")
    seen = found(build(tmp_path, *([] if allure else ["--no-allure"]), redacted=False))
    for place in ("unknown", "note", *(["reason"] if allure else [])):
        assert [kind for kind in ALL if (place, kind) not in seen] == [], place
    assert sum(place == "witness" for place, _ in seen) > 90  # as many as a page shows


def test_a_packed_leak_would_be_found(tmp_path: Path) -> None:
    made = CANARIES["note"]["jwt"]
    packed = base64.b64encode(zlib.compress(f"{'x' * 999} {made.text} {'y' * 999}".encode(), 0))
    (tmp_path / "page.html").write_bytes(b"<script>" + packed + b"</script>")
    assert found(tmp_path) == {("note", "jwt"): "page.html"}
