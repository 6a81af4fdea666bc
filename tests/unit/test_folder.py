"""What a run leaves on disk holds no secrets, and only what belongs to it."""

import tracemalloc
from pathlib import Path

import pytest

from common.redaction import redact
from run.folder import attempt_folder, attempts, point, write_json
from run.logs import LogTails

TOKEN = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIwMWEyIn0.sflKxwRJSMeKKF2QT4fwpMeJf36POk6yJV_adQssw5c"


@pytest.mark.parametrize(
    "text",
    [
        f"Authorization: Bearer {TOKEN}",
        f"ExecuteTask(token='{TOKEN}', ti=TaskInstance(...))",
        "postgresql+psycopg2://airflow:hunter2-canary@127.0.0.1:5432/airflow",
        "host=127.0.0.1 password=hunter2-canary user=airflow",
        "{'password': 'hunter2-canary'}",
        'PASSWORD="hunter2-canary"',
    ],
)
def test_secrets_are_masked(text: str) -> None:
    masked = redact(text)
    assert TOKEN not in masked
    assert "hunter2-canary" not in masked
    assert "***" in masked


def test_what_is_no_secret_is_kept() -> None:
    text = "ti 01a20304 scheduler-2 http://127.0.0.1:8080/execution/ 409 invalid_state"
    assert redact(text) == text


def test_a_log_is_kept_from_where_the_run_began(tmp_path: Path) -> None:
    log = tmp_path / "scheduler-1.log"
    log.write_text("an earlier test\n")
    tails = LogTails({"scheduler-1": log, "gone": tmp_path / "gone.log"})
    with log.open("a") as file:
        file.write(f"this test {TOKEN}\n")
    tails.keep(tmp_path / "kept")
    assert (tmp_path / "kept" / "scheduler-1.log").read_text() == "this test ***\n"
    assert [path.name for path in (tmp_path / "kept").iterdir()] == ["scheduler-1.log"]


def test_json_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "verdict.json"
    write_json(path, {"verdict": "valid"})
    cyclic: dict[str, object] = {}
    cyclic["self"] = cyclic
    with pytest.raises(RecursionError):
        write_json(path, cyclic)
    assert '"valid"' in path.read_text()


def test_a_long_log_is_kept_whole_in_little_memory(tmp_path: Path) -> None:
    log = tmp_path / "scheduler-1.log"
    log.touch()
    tails = LogTails({"scheduler-1": log}, ["zQ8-a-known-value"])
    line = (
        b"2026-11-22 12:05:38.887 UTC [1274] LOG:  process 1274 still waiting " + b"x" * 130 + b"\n"
    )
    told = f"password=hunter2-canary zQ8-a-known-value token: {TOKEN}\n".encode()
    block = line * 5_000 + told
    with log.open("wb") as file:
        for _ in range(30):
            file.write(block)
    tracemalloc.start()
    tails.keep(tmp_path / "kept")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert log.stat().st_size > 29_000_000
    assert peak < 12_000_000
    kept = tmp_path / "kept" / "scheduler-1.log"
    assert kept.stat().st_size == 30 * len(line) * 5_000 + 30 * len("password=*** *** token: ***\n")


def test_a_log_of_bytes_that_are_no_text_is_kept(tmp_path: Path) -> None:
    log = tmp_path / "scheduler-1.log"
    log.touch()
    tails = LogTails({"scheduler-1": log})
    log.write_bytes(b"\xff\xfe\r\nnext\n")
    tails.keep(tmp_path / "kept")
    kept = (tmp_path / "kept" / "scheduler-1.log").read_bytes().decode()
    assert kept == "\ufffd\ufffd\r\nnext\n"


def test_a_log_that_has_nothing_new_leaves_no_file(tmp_path: Path) -> None:
    log = tmp_path / "scheduler-1.log"
    log.write_text("an earlier test\n")
    LogTails({"scheduler-1": log}).keep(tmp_path / "kept")
    assert not list((tmp_path / "kept").iterdir())


def test_every_attempt_has_a_folder_of_its_own(tmp_path: Path) -> None:
    wanted = tmp_path / "tests" / "test_x-embedded-3.3.2"
    made = [attempt_folder(wanted).name for _ in range(3)]
    assert made == [wanted.name, f"{wanted.name}.2", f"{wanted.name}.3"]
    for name in made:
        assert [path.name for path in attempts(wanted.with_name(name))] == made


def test_a_link_leads_to_the_newest_and_moves_with_its_folder(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / "runs" / name).mkdir(parents=True)
        point(tmp_path / "runs" / "latest", tmp_path / "runs" / name)
    (tmp_path / "runs").rename(tmp_path / "moved")
    assert (tmp_path / "moved" / "latest").resolve() == tmp_path / "moved" / "two"
