"""What is staged for Allure: every test once, in its place, with what was found, and no secret."""

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from reports.allure import attachments, history
from reports.allure.findings import find
from reports.allure.pasts import RESULTS, gather
from reports.allure.staging import HISTORY, Staged, places, stage
from reports.records import Ended, name_of
from tests.reports.allure.made_runs import FILE, ISSUE, RACE, RunsBuilder


@pytest.fixture
def runs(tmp_path: Path) -> RunsBuilder:
    return RunsBuilder(tmp_path / "runs")


def staged(
    runs: RunsBuilder, into: Path, *, strict: bool = False
) -> tuple[Staged, list[dict[str, Any]]]:
    done = stage(gather(runs.shelf), into, strict=strict)
    return done, [json.loads(path.read_text()) for path in (into / RESULTS).glob("*-result.json")]


def only(runs: RunsBuilder, tmp_path: Path) -> dict[str, Any]:
    (result,) = staged(runs, tmp_path / "staged")[1]
    return result


def label(result: dict[str, Any], name: str) -> str:
    found = [each["value"] for each in result["labels"] if each["name"] == name]
    assert len(found) <= 1
    return str(found[0]) if found else ""


@pytest.mark.parametrize(
    ("test", "bare"),
    [
        ("f.py::t[57618-fan-out-kind-3.0.6]", "f.py::t[57618-fan-out]"),
        ("f.py::t[kind-3.0.6-reset]", "f.py::t[reset]"),
        ("f.py::t[kind-3.0.6]", "f.py::t"),
        ("f.py::t[gated-kind-3.0.6-1-5]", "f.py::t[gated-1-5]"),
        ("f.py::t[kind-3.0.60]", "f.py::t"),
        ("f.py::t", "f.py::t"),
    ],
)
def test_a_test_has_one_name_in_all_environments(test: str, bare: str) -> None:
    assert name_of(test, "kind", ["3.0.6"]).full == bare


def test_the_newest_attempt_is_staged_and_the_older_ones_are_history(
    runs: RunsBuilder, tmp_path: Path
) -> None:
    runs.session(1).test("test_held[fan-out]", "unknown")
    runs.session(2).test("test_held[fan-out]")
    _, results = staged(runs, tmp_path / "staged")
    assert [result["status"] for result in results] == ["passed"]
    assert label(results[0], "session") == "20261101-020000"
    points = [json.loads(line) for line in (tmp_path / "staged" / HISTORY).open()]
    assert [point["name"] for point in points] == ["20261101-010000", "20261101-020000"]
    keys = [next(iter(point["testResults"])) for point in points]
    assert keys[1] == f"{keys[0]}.{history.PRESENT}", "the present stood twice in its own history"


def test_an_environment_is_airflow_lab_and_schedulers(runs: RunsBuilder, tmp_path: Path) -> None:
    runs.session(1).test("test_held[fan-out]")
    runs.session(2, lab="kind").test("test_held[fan-out]")
    runs.session(3, airflow="3.0.6").test("test_held[fan-out]")
    done, results = staged(runs, tmp_path / "staged")
    assert [place.name for place in done.places] == [
        "Airflow 3.0.6, embedded, 2 schedulers",
        "Airflow 3.3.2, embedded, 2 schedulers",
        "Airflow 3.3.2, kind, 2 schedulers",
    ]
    assert len({result["testCaseId"] for result in results}) == 1
    assert {label(result, "environment") for result in results} == {p.label for p in done.places}


def test_allure_takes_the_names_of_all_environments() -> None:
    made = places([f"Airflow a/wheel{'x' * 70}{end}, kind, 2 schedulers" for end in "ab"])
    assert len({place.id for place in made}) == len({place.name for place in made}) == 2
    assert all(len(place.name) <= 64 and "/" not in place.name for place in made)
    assert all(place.id.replace("-", "").isalnum() and len(place.id) <= 64 for place in made)


def test_a_known_race_is_red_and_linked_also_where_it_was_expected(
    runs: RunsBuilder, tmp_path: Path
) -> None:
    session = runs.session(1, airflow="3.0.6")
    session.test("test_held[a]", "invalid", known=RACE, ended=Ended("passed"), status="passed")
    result = only(runs, tmp_path)
    assert result["status"] == "failed"
    assert label(result, "finding") == "Known: apache/airflow#57618"
    assert result["links"] == [{"type": "issue", "url": ISSUE, "name": "apache/airflow#57618"}]
    assert result["statusDetails"]["message"] == "unique-try 45"
    assert label(result, "severity") == "blocker", "what a test says of itself goes before"
    assert label(result, "owner")


def test_a_race_in_a_release_that_has_it_not_is_a_new_violation(
    runs: RunsBuilder, tmp_path: Path
) -> None:
    fixed = msgspec.structs.replace(RACE, affected=False)
    runs.session(1).test("test_held[a]", "invalid", known=fixed)
    assert label(only(runs, tmp_path), "finding") == "New violation"


def test_what_is_by_design_is_an_expected_failure(runs: RunsBuilder, tmp_path: Path) -> None:
    design = msgspec.structs.replace(RACE, by_design=True, issue="not filed")
    run = runs.session(1)
    run.test("test_frozen", "invalid", known=design, ended=Ended("xfailed"), status="skipped")
    result = only(runs, tmp_path)
    assert (result["status"], label(result, "finding")) == (
        "skipped",
        "Expected failure: Scheduled twice",
    )
    assert result["links"] == []


@pytest.mark.parametrize("later", ["valid", "unknown"])
def test_no_later_run_of_the_same_build_undoes_a_violation(
    runs: RunsBuilder, tmp_path: Path, later: str
) -> None:
    runs.session(1).test("test_held[a]", "invalid")
    runs.session(2).test("test_held[a]", later)
    result = only(runs, tmp_path)
    assert label(result, "finding").startswith("Flaky")
    assert result["statusDetails"]["flaky"] is True
    assert "20261101-010000" in result["statusDetails"]["message"]


def test_another_build_is_not_flaky_for_it(runs: RunsBuilder) -> None:
    runs.session(1, airflow="3.0.6").test("test_held[a]", "invalid")
    runs.session(2, airflow="3.3.2").test("test_held[a]")
    findings = [find(past) for past in gather(runs.shelf).pasts]
    assert [finding and finding.name for finding in findings] == ["New violation", None]


def test_a_crashed_test_has_a_broken_result_though_allure_has_none(
    runs: RunsBuilder, tmp_path: Path
) -> None:
    died = Ended("crashed", reason="worker 'gw1' crashed")
    runs.session(1).test("test_held[a]", ended=died, result=False, record=False)
    result = only(runs, tmp_path)
    assert (result["status"], label(result, "finding")) == ("broken", "Crashed or vanished")
    assert result["statusDetails"]["message"] == "worker 'gw1' crashed"
    assert result["name"] == "test_held[a]"


def test_a_test_that_never_ended_has_a_broken_result(runs: RunsBuilder, tmp_path: Path) -> None:
    runs.session(1, killed=True).test("test_held[a]", result=False, record=False)
    result = only(runs, tmp_path)
    assert (result["status"], label(result, "finding")) == ("broken", "Crashed or vanished")


def test_a_skipped_test_is_there_and_skipped(runs: RunsBuilder, tmp_path: Path) -> None:
    skipped = Ended("skipped", reason="needs netem")
    runs.session(1).test("test_held[a]", ended=skipped, record=False, status="skipped")
    result = only(runs, tmp_path)
    assert (result["status"], label(result, "finding")) == ("skipped", "")
    assert result["statusDetails"]["message"] == "needs netem"


def test_an_unknown_verdict_is_a_test_defect(runs: RunsBuilder, tmp_path: Path) -> None:
    runs.session(1).test("test_held[a]", "unknown", reasons=["the gate was not reached"])
    result = only(runs, tmp_path)
    assert label(result, "finding") == "Test defect: cannot tell"
    assert result["statusDetails"]["message"] == "the gate was not reached"


def test_the_results_of_all_airflows_of_a_session_may_lie_in_one_folder(
    runs: RunsBuilder, tmp_path: Path
) -> None:
    first = runs.session(1, airflow="3.0.6", session="s")
    second = runs.session(1, airflow="3.3.2", session="s")
    first.test("test_held[a]")
    second.test("test_held[a]", result=False)
    nodeid = f"{FILE}::test_held[a-embedded-3.3.2]"
    path = first.result(nodeid, "passed", uuid="other")
    (second.folder / "allure-results" / path.name).write_bytes(path.read_bytes())
    _, results = staged(runs, tmp_path / "staged")
    assert sorted((label(r, "airflow"), r["uuid"]) for r in results) == [
        ("3.0.6", "s-3.0.6-1"),
        ("3.3.2", "other"),
    ]


def test_no_secret_passes_through(runs: RunsBuilder, tmp_path: Path) -> None:
    runs.session(1).test("test_held[a]", ended=Ended("failed", 1.0, "password=hunter2-canary"))
    done, _ = staged(runs, tmp_path / "staged")
    files = [path for path in (tmp_path / "staged").rglob("*") if path.is_file()]
    assert sum("attachment" in path.name for path in files) == 2
    assert not [path for path in files if "hunter2-canary" in path.read_text()]
    assert done.cut == 0


def test_a_result_that_cannot_be_read_is_a_problem_and_not_the_end(
    runs: RunsBuilder, tmp_path: Path
) -> None:
    run = runs.session(1)
    run.test("test_held[a]")
    (run.folder / "allure-results" / "x-result.json").write_text('{"uuid": "x"')
    done, results = staged(runs, tmp_path / "staged")
    assert len(results) == len(done.problems) == 1
    assert "x-result.json" in done.problems[0]


def test_a_lost_attachment_is_a_problem_and_not_the_end(runs: RunsBuilder, tmp_path: Path) -> None:
    run = runs.session(1)
    run.test("test_held[a]")
    next((run.folder / "allure-results").glob("*-log-attachment.txt")).unlink()
    done, results = staged(runs, tmp_path / "staged")
    assert len(results) == 1
    assert "cannot be attached" in done.problems[0]


def test_an_attachment_cannot_name_a_file_elsewhere(runs: RunsBuilder, tmp_path: Path) -> None:
    (tmp_path / "private.txt").write_text("private")
    run = runs.session(1)
    outside = {"name": "x", "source": "../../../private.txt", "type": "text/plain"}
    run.test("test_held[a]", result=False)
    run.result(f"{FILE}::test_held[a-embedded-3.3.2]", "passed", attachments=[outside])
    staged(runs, tmp_path / "staged")
    assert not list((tmp_path / "staged").rglob("private.txt"))


def test_a_long_log_keeps_its_head_and_its_tail_and_says_where_the_whole_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attachments, "LONGEST", 2000)
    monkeypatch.setattr(attachments, "END", 500)
    source, target = tmp_path / "long.log", tmp_path / "staged.log"
    lines = [f"line {number:04} password=hunter2-canary{number:04}\n" for number in range(200)]
    source.write_text("".join(lines))
    assert not attachments.take(source, target)
    text = target.read_text()
    assert text.startswith("line 0000 ")
    assert "line 0199" in text
    assert "long.log" in text
    assert "left out" in text
    assert "canary" not in text
    assert target.stat().st_size < 1500


def test_a_secret_that_is_cut_in_two_is_not_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attachments, "LONGEST", 2000)
    monkeypatch.setattr(attachments, "END", 500)
    source, target = tmp_path / "one-line.log", tmp_path / "staged.log"
    source.write_text(f"password={'canary' * 1000}")
    attachments.take(source, target)
    assert "canary" not in target.read_text()


def test_pictures_and_pages_are_copied_as_they_are(tmp_path: Path) -> None:
    page, picture = tmp_path / "timeline.html", tmp_path / "w.png"
    page.write_text("<script>a.token=b</script>")
    picture.write_bytes(b"\x89PNG\r\n\x1a\n\x00\x00\x00\rtoken=abc")
    for source in (page, picture):
        assert attachments.take(source, tmp_path / "copy")
        assert (tmp_path / "copy").read_bytes() == source.read_bytes()


def test_building_twice_gives_the_same(runs: RunsBuilder, tmp_path: Path) -> None:
    for hour in (1, 2, 3):
        runs.session(hour).test("test_held[a]", "invalid" if hour == 2 else "valid")
    made = []
    for name in ("one", "two"):
        staged(runs, tmp_path / name)
        files = sorted((tmp_path / name).rglob("*"))
        made.append([(path.name, path.read_bytes()) for path in files if path.is_file()])
    assert made[0] == made[1]


def test_the_picture_is_attached_and_the_timeline_linked_where_they_were_drawn(
    runs: RunsBuilder, tmp_path: Path
) -> None:
    folder = runs.session(1).test("test_held[a]")
    (folder / "timeline.html").write_text("<script>a.token=b</script>")
    (folder / "witness.png").write_bytes(b"\x89PNG\r\n\x1a\n\x00")
    result = only(runs, tmp_path)
    assert [each["name"] for each in result["attachments"]] == ["scheduler-1", "witness drawn"]
    url = result["description"].removeprefix("[timeline](").removesuffix(")")
    page = (tmp_path / "staged" / RESULTS / url).read_text()
    assert page == "<script>a.token=b</script>", "its scripts must run"


def test_a_page_that_is_attached_is_linked_once(runs: RunsBuilder, tmp_path: Path) -> None:
    run = runs.session(1)
    folder = run.test("test_held[a]", result=False)
    (folder / "timeline.html").write_text("newer")
    page = {"name": "timeline", "source": "p-attachment.html", "type": "text/html"}
    nodeid = f"{FILE}::test_held[a-embedded-3.3.2]"
    path = run.result(nodeid, "passed", attachments=[page])
    (path.parent / "p-attachment.html").write_text("<p>lanes</p>")
    result = only(runs, tmp_path)
    assert result["attachments"] == []
    assert result["description"].count("[timeline](../pages/") == 1
