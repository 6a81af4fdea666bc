"""What a release manager reads in the morning."""

import re
import shutil
from datetime import date, timedelta
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import msgspec
import pytest

from reports.dashboard import assembly
from reports.dashboard.versions import sentence
from reports.gate.decision import GateRow
from reports.gate.policy import Acceptance, InvariantName, Policy, Safety, Specifier
from reports.store import read_runs
from tests.reports.dashboard.folders import CATCHES, CLEAN, LOST, POLICY, RACE, make_run


def build(runs: Path, policy: Policy = POLICY) -> Path:
    return assembly.build(read_runs([runs]), runs.parent / "site", policy, allure=False).parent


def text_of(page: Path) -> str:
    """Return what a page says, without its markup."""
    body = page.read_text().partition("<body>")[2]
    return " ".join(re.sub(r"<[^>]+>", " ", body).split())


class Links(HTMLParser):
    """Collects what a page links to or loads, its anchors, and images without a description."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.to: list[str] = []
        self.ids: set[str] = set()
        self.undescribed: list[str] = []
        self.feed(page.read_text())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.to += [given[name] for name in ("href", "src") if name in given]
        if tag == "img" and not given.get("alt"):
            self.undescribed.append(given.get("src", ""))
        if "id" in given:
            self.ids.add(given["id"])


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three versions; whoever adds to it copies it first."""
    folder = tmp_path_factory.mktemp("runs") / "runs"
    make_run(folder, "3.0.6", RACE, started="20261120-060000")
    make_run(folder, "3.3.2", CLEAN, CLEAN, started="20261121-060000", task_instances=2820)
    make_run(folder, "3.2.0", CLEAN, started="20261122-060000", unknown=True)
    return folder


@pytest.fixture(scope="module")
def out(runs: Path) -> Path:
    """The site of the three."""
    return build(runs)


def test_it_says_of_every_version_whether_it_is_safe_the_newest_first(out: Path) -> None:
    said = text_of(out / "index.html")
    versions = said.partition("Versions, the newest first")[2]
    order = [versions.index(f"{version} ") for version in ("3.3.2", "3.2.0", "3.0.6")]
    assert order == sorted(order)
    assert re.search(r"✓ safe 3\.3\.2", said)
    assert re.search(r"✗ not safe 3\.0\.6", said)
    assert re.search(r"\? cannot tell 3\.2\.0", said)


def test_it_says_why_and_how_much_that_rests_on(out: Path) -> None:
    said = text_of(out / "index.html")
    assert "0 of 5,640 task instances broke a promise: at most 0.53 in 1,000 at 95 %" in said
    assert "A task instance is scheduled twice by two schedulers." in said
    assert "1 of 1 test run that looks for it showed it (at least 5.0 %), #57618" in said
    assert "load was not reached" in said


def test_the_race_is_drawn_with_its_story_beside_it(out: Path) -> None:
    page = (out / "index.html").read_text()
    assert 'src="data:image/svg+xml;base64,' in page
    assert "The race, drawn: 3.0.6" in page
    assert "scheduled it again: try_number 1 -&gt; 2" in page


def test_without_a_violation_there_is_no_race(tmp_path: Path) -> None:
    make_run(tmp_path / "runs", "3.3.2", CLEAN)
    assert ", drawn" not in text_of(build(tmp_path / "runs") / "index.html")


def test_a_release_that_was_run_to_see_its_race_caught_is_not_safe(tmp_path: Path) -> None:
    make_run(tmp_path / "runs", "3.0.6", RACE)
    session = next((tmp_path / "runs").glob("*/session.json"))
    session.write_text(session.read_text().replace('"expect_known":false', '"expect_known":true'))
    verdict = next((tmp_path / "runs").glob("*/tests/*/verdict.json"))
    verdict.write_text(verdict.read_text().replace('"expect_known":false', '"expect_known":true'))
    make_run(tmp_path / "runs", "3.3.2", CLEAN)
    said = text_of(build(tmp_path / "runs", CATCHES) / "index.html")
    assert "✗ not safe 3.0.6" in said
    assert "✓ safe 3.3.2" in said


def test_a_build_of_ones_own_is_not_the_release_that_it_calls_itself(tmp_path: Path) -> None:
    make_run(tmp_path / "runs", "3.0.6", RACE)
    make_run(tmp_path / "runs", "3.0.6", CLEAN, label="fixed.whl")
    said = text_of(build(tmp_path / "runs") / "index.html")
    assert "✓ safe fixed.whl (3.0.6)" in said
    assert "✗ not safe 3.0.6" in said


def test_what_the_policy_accepts_is_no_promise_kept(tmp_path: Path) -> None:
    make_run(tmp_path / "runs", "3.3.2", CLEAN, LOST, task_instances=500)
    accepted = Acceptance(
        invariants=[InvariantName("no-lost-task")],
        airflow=Specifier(">=3"),
        reason="a reason",
        owner="somebody",
        until=date.today() + timedelta(days=9),
    )
    policy = msgspec.structs.replace(POLICY, safety=Safety(accepted=[accepted]))
    out = build(tmp_path / "runs", policy)
    said = text_of(out / "index.html")
    assert "the policy accepts no-lost-task by name." in said
    assert "! safe but for accepted risks 3.3.2 (1 risk)" in said
    assert said.count("! safe but for 1 accepted risk ") == 3, "its card, the gate, the matrix"
    assert "✓ safe " not in said
    assert "! safe but for 1 accepted risk " in text_of(out / "matrix.html")
    assert (out / "gate.md").read_text().startswith("## Release gate: safe but for 1 accepted risk")
    assert msgspec.json.decode((out / "gate.json").read_bytes())["exit_code"] == 0
    assert "Every promise was kept" not in said
    assert "0 of 500 task instances broke a promise in the other tests" in said
    assert "accepted by name in the policy" in said


def test_a_violation_that_nothing_explains_is_told_as_new(tmp_path: Path) -> None:
    make_run(tmp_path / "runs", "3.3.2", LOST)
    said = text_of(build(tmp_path / "runs") / "index.html")
    assert "“Every run that was begun ends once the faults are healed”" in said
    assert "a new violation: no known issue explains it" in said
    assert "What went wrong, drawn: 3.3.2" in said


def test_a_known_race_is_counted_apart_and_what_is_new_stands_before_it(tmp_path: Path) -> None:
    make_run(tmp_path / "runs", "3.0.6", RACE, RACE, LOST)
    said = text_of(build(tmp_path / "runs") / "index.html")
    new = said.index("new 1 (no-lost-task in test_held[57618-start-task-2])")
    assert new < said.index("known 1 (57618)")
    assert said.index("a new violation") < said.index("2 of 3 test runs that look")


def test_what_is_bad_stands_first_on_a_runs_page(tmp_path: Path) -> None:
    run = make_run(tmp_path / "runs", "3.3.2", CLEAN, CLEAN, RACE, CLEAN, CLEAN)
    session = msgspec.json.decode((run / "session.json").read_bytes())
    tests = session["collected"]
    record = run / "tests" / tests[3].rpartition("::")[2].replace("[", "-").rstrip("]")
    verdict = msgspec.json.decode((record / "verdict.json").read_bytes())
    (record / "verdict.json").write_bytes(msgspec.json.encode(verdict | {"verdict": "unknown"}))
    session["tests"][tests[4]] = {"outcome": "crashed", "reason": "its worker died"}
    for name, outcome in (("test_lost", "broken"), ("test_slept", "skipped")):
        session["collected"].append(f"suites/test_x.py::{name}")
        session["tests"][f"suites/test_x.py::{name}"] = {"outcome": outcome, "reason": "so"}
    (run / "session.json").write_bytes(msgspec.json.encode(session))
    page = text_of(build(tmp_path / "runs") / "runs" / run.name / "index.html")
    order = [
        *("4 tests to look at", "task-2-", "task-3-", "task-4-", "test_lost"),
        *("2 tests that kept every promise", "task-0-", "task-1-", "test_slept"),
    ]
    places = [page.index(each) for each in order]
    assert places == sorted(places)
    assert "✓ valid ? crashed test_held[57618-start-task-4-embedded-3.3.2]" in page


def test_the_other_attempts_at_a_test_are_named(tmp_path: Path) -> None:
    run = make_run(tmp_path / "runs", "3.3.2", RACE, CLEAN)
    first, second = sorted((run / "tests").iterdir())
    told = (second / "verdict.json").read_text().replace("start-task-1-", "start-task-0-")
    (second / "verdict.json").write_text(told)
    second.rename(f"{first}.2")
    out = build(tmp_path / "runs")
    page = text_of(out / "runs" / run.name / "index.html")
    said = "It ran 2 times in this session, and its worst attempt counts. The others: "
    assert f"{said}tests/{first.name}.2 (valid)." in page
    assert "✗ not safe 3.3.2" in text_of(out / "index.html")


def test_every_link_leads_somewhere_and_nothing_comes_from_the_network(out: Path) -> None:
    pages = [page for page in out.rglob("*.html") if page.name != "timeline.html"]
    links = {page: Links(page) for page in pages}
    assert len(pages) == 6
    for page, found in links.items():
        assert not found.undescribed
        for link in found.to:
            if link.startswith(("https://github.com/apache/airflow/", "data:")):
                continue
            assert not urlsplit(link).scheme, link
            path, _, place = unquote(link).partition("#")
            target = (page.parent / path).resolve() if path else page
            assert target.exists(), f"{page}: {link}"
            assert not place or place in links[target].ids, f"{page}: {link}"
    assert not any(re.search(r"url\(|@import|<script", page.read_text()) for page in pages)


def test_the_gate_and_the_matrix_stand_beside_it(out: Path) -> None:
    decision = msgspec.json.decode((out / "gate.json").read_bytes())
    assert decision["exit_code"] == 1
    assert (out / "gate.md").read_text().startswith("## Release gate: not safe")
    assert "✗ reproduced" in text_of(out / "matrix.html")


def test_what_cannot_be_read_is_listed_and_the_rest_is_told(runs: Path, tmp_path: Path) -> None:
    runs = shutil.copytree(runs, tmp_path / "runs")
    half, foreign = runs / "20261122-070000-3.3.2", runs / "20261122-080000-3.3.2"
    (half / "tests" / "broken").mkdir(parents=True)
    (half / "tests" / "broken" / "verdict.json").write_text('{"schema": 1, "test": "<b>tw')
    shutil.copytree(runs / "20261121-060000-3.3.2", foreign)
    (foreign / "session.json").write_text('{"schema": 99}')
    out = build(runs)
    said = text_of(out / "index.html").partition("What could not be read")[2]
    assert "session.json is missing" in said
    assert "is not a whole verdict.json" in said
    assert "has schema 99" in said
    assert str(runs) not in said
    assert (out / "runs" / half.name / "index.html").exists()


def test_runs_of_the_same_name_have_pages_of_their_own(tmp_path: Path) -> None:
    make_run(tmp_path / "runs" / "one", "3.3.2", CLEAN)
    make_run(tmp_path / "runs" / "two", "3.3.2", RACE)
    pages = sorted((build(tmp_path / "runs") / "runs").iterdir())
    assert [page.name for page in pages] == ["20261121-060000-3.3.2", "20261121-060000-3.3.2~2"]


def test_a_name_cannot_lead_out_of_the_site_or_into_its_markup(tmp_path: Path) -> None:
    run = make_run(tmp_path / "runs", "3.3.2", RACE)
    evil = run.rename(run.with_name('20261121-060000-"><script>alert(1)<'))
    (evil / "session.json").write_text(
        (evil / "session.json").read_text().replace('"3.3.2"', '"<script>alert(1)</script>"')
    )
    out = build(tmp_path / "runs")
    for page in out.rglob("*.html"):
        assert page.name == "timeline.html" or "<script" not in page.read_text()


def test_where_allure_cannot_be_the_page_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_run(tmp_path / "runs", "3.3.2", CLEAN)
    monkeypatch.setenv("PATH", str(tmp_path))
    page = assembly.build(read_runs([tmp_path / "runs"]), tmp_path / "site", POLICY)
    assert "There is no Allure report: it needs Node.js" in text_of(page)
    assert not (tmp_path / "site" / "allure").exists()


@pytest.mark.parametrize(
    ("subject", "said"),
    [
        ("the load", "The load: too little."),
        ("test_held[57618]", "test_held[57618]: too little."),
    ],
)
def test_a_tests_name_is_written_as_it_is(subject: str, said: str) -> None:
    row = GateRow(check="completeness", subject=subject, status="unknown", detail="too little")
    assert sentence(row) == said
