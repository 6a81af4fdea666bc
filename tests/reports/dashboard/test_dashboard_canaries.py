"""No secret that a run holds comes into the report, whatever it was planted in."""

import base64
import re
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from reports.allure import node
from reports.dashboard.assembly import build
from reports.store import read_runs
from tests.reports.dashboard.folders import CLEAN, POLICY, RACE, make_run

JWT = "eyJhbGciOiJIUzUxMiJ9.eyJzdWIiOiJjYW5hcnkifQ.Y2FuYXJ5LWp3dC1zaWduYXR1cmU"
CANARIES = {
    "canary-password-7Q": "password=canary-password-7Q",
    "canary-dsn-8R": "postgresql://airflow:canary-dsn-8R@db:5432/airflow",
    "canary-bearer-9S": "Authorization: Bearer canary-bearer-9S",
    "Y2FuYXJ5LWZlcm5ldC1rZXktMDEyMzQ1Njc4OWFiY2Q=": (
        "AIRFLOW__CORE__FERNET_KEY=Y2FuYXJ5LWZlcm5ldC1rZXktMDEyMzQ1Njc4OWFiY2Q="
    ),
    JWT: JWT,
}
PLANTED = " and ".join(CANARIES.values())
_BASE64 = re.compile(rb"[A-Za-z0-9+/]{200,}={0,2}")


def plant(run: Path) -> None:
    """Put the secrets into everything that a run leaves in words."""
    for session in run.glob("session.json"):
        text = session.read_text()
        session.write_text(text.replace('"outcome"', f'"reason":"{PLANTED}","outcome"', 1))
    for verdict in run.glob("tests/*/verdict.json"):
        text = verdict.read_text()
        verdict.write_text(text.replace('"reasons":[', f'"reasons":["{PLANTED}",', 1))
    for path in [*run.glob("tests/*/witness.txt"), *run.glob("tests/*/logs/*.log")]:
        path.write_text(path.read_text() + PLANTED)


def contents(data: bytes) -> Iterator[bytes]:
    """Give a file's bytes, and what is packed into it."""
    yield data
    for packed in _BASE64.findall(data):
        try:
            plain = base64.b64decode(packed + b"=" * (-len(packed) % 4))
        except ValueError:
            continue
        yield plain
        for window in (zlib.MAX_WBITS, -zlib.MAX_WBITS, zlib.MAX_WBITS | 16):
            try:
                yield zlib.decompress(plain, window)
            except zlib.error:
                continue


def leaks(out: Path) -> set[tuple[str, str]]:
    return {
        (str(path.relative_to(out)), canary)
        for path in out.rglob("*")
        if path.is_file()
        for content in contents(path.read_bytes())
        for canary in CANARIES
        if canary.encode() in content
    }


@pytest.mark.parametrize("allure", [False, True], ids=["alone", "with-allure"])
def test_no_secret_comes_into_the_report(tmp_path: Path, allure: bool) -> None:
    if allure and node.missing():
        pytest.skip(node.missing() or "")
    plant(make_run(tmp_path / "runs", "3.0.6", RACE, started="20261120-060000"))
    plant(make_run(tmp_path / "runs", "3.3.2", CLEAN, started="20261121-060000", unknown=True))
    out = tmp_path / "site"
    page = build(read_runs([tmp_path / "runs"]), out, POLICY, allure=allure)
    assert "password=***" in page.read_text()
    assert (out / "allure").exists() == allure
    assert leaks(out) == set()


def test_a_leak_would_be_found(tmp_path: Path) -> None:
    packed = base64.b64encode(zlib.compress(f"{'x' * 999} {JWT} {'y' * 999}".encode(), 0))
    (tmp_path / "page.html").write_bytes(b"<script>" + packed + b"</script>")
    assert leaks(tmp_path) == {("page.html", JWT)}
