"""The report that Allure itself draws from what is staged."""

import json
import logging
import os
from pathlib import Path
from typing import Any

import pytest

from reports.allure import node
from reports.allure.report import build, without_analytics
from reports.records import Ended
from tests.reports.allure.made_runs import RACE, RunsBuilder, needs_allure


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> RunsBuilder:
    """Three sessions: a race that shows itself and hides again, a crash, a skip, two places."""
    runs = RunsBuilder(tmp_path_factory.mktemp("runs"))
    first = runs.session(1)
    first.test("test_held[a]", "invalid")
    first.test("test_held[b]", "unknown", reasons=["the gate was not reached"])
    second = runs.session(2)
    second.test("test_held[a]")
    second.test("test_held[b]")
    second.test("test_held[c]", ended=Ended("crashed"), result=False, record=False)
    second.test("test_held[d]", ended=Ended("skipped"), record=False, status="skipped")
    last = runs.session(3, airflow="3.0.6").test("test_held[a]", "invalid", known=RACE)
    (last / "timeline.html").write_text("<p>lanes</p>")
    return runs


@pytest.fixture(scope="module")
def report(runs: RunsBuilder, tmp_path_factory: pytest.TempPathFactory) -> Path:
    built = build(runs.shelf, tmp_path_factory.mktemp("site") / "allure")
    assert built is not None
    return built


@pytest.fixture
def shown(report: Path) -> dict[tuple[str, str], dict[str, Any]]:
    """What the report's pages show of each test, by its environment and name."""
    folder = report.parent / "awesome" / "data" / "test-results"
    read = [json.loads(path.read_text()) for path in folder.glob("*.json")]
    return {(each["environment"].split(",")[0], each["name"]): each for each in read}


@needs_allure
class TestReport:
    def test_every_test_is_there_once_in_its_environment(
        self, shown: dict[tuple[str, str], dict[str, Any]]
    ) -> None:
        assert len(shown) == 5
        assert {key[0] for key in shown} == {"Airflow 3.0.6", "Airflow 3.3.2"}
        assert {each["status"] for each in shown.values()} == {
            "failed",
            "passed",
            "broken",
            "skipped",
        }

    def test_categories_tell_what_kind_of_finding_it_is(
        self, shown: dict[tuple[str, str], dict[str, Any]]
    ) -> None:
        found = {key: [each["name"] for each in test["categories"]] for key, test in shown.items()}
        flaky = "Flaky: an older run of this build broke a promise"
        assert found == {
            ("Airflow 3.0.6", "test_held[a]"): ["Known: apache/airflow#57618"],
            ("Airflow 3.3.2", "test_held[a]"): [flaky],
            ("Airflow 3.3.2", "test_held[b]"): [],
            ("Airflow 3.3.2", "test_held[c]"): ["Crashed or vanished"],
            ("Airflow 3.3.2", "test_held[d]"): [],
        }

    def test_a_violation_that_an_older_run_showed_is_flaky_to_allure(
        self, shown: dict[tuple[str, str], dict[str, Any]]
    ) -> None:
        test = shown["Airflow 3.3.2", "test_held[a]"]
        assert (test["status"], test["flaky"]) == ("passed", True)

    def test_a_test_has_its_own_history_and_no_other_places(
        self, shown: dict[tuple[str, str], dict[str, Any]]
    ) -> None:
        histories = {
            key: [each["status"] for each in test["history"]] for key, test in shown.items()
        }
        assert histories["Airflow 3.3.2", "test_held[a]"] == ["failed"]
        assert histories["Airflow 3.3.2", "test_held[b]"] == ["broken"]
        assert histories["Airflow 3.0.6", "test_held[a]"] == []

    def test_the_trend_has_a_bar_for_every_session_and_the_present(self, report: Path) -> None:
        widgets = json.loads((report.parent / "dashboard" / "widgets" / "charts.json").read_text())
        charts = widgets["general"].values()
        (trend,) = (chart for chart in charts if chart["type"] == "statusDynamics")
        totals = [(point["name"], point["statistic"]["total"]) for point in trend["data"]]
        assert totals == [
            ("20261101-010000", 2),
            ("20261101-020000", 4),
            ("20261101-030000", 1),
            ("current", 5),
        ]

    def test_steps_links_and_attachments_are_there_without_secrets(
        self, report: Path, shown: dict[tuple[str, str], dict[str, Any]]
    ) -> None:
        test = shown["Airflow 3.0.6", "test_held[a]"]
        assert [link["name"] for link in test["links"]] == ["apache/airflow#57618"]
        assert [step["name"] for step in test["steps"] if step["type"] == "step"] == ["gate closes"]
        attached = list((report.parent / "awesome" / "data" / "attachments").iterdir())
        assert len(attached) == 8
        for path in report.parent.rglob("*"):
            assert path.is_dir() or b"hunter2-canary" not in path.read_bytes(), path

    def test_the_timeline_is_a_page_of_its_own_that_the_test_links(
        self, report: Path, shown: dict[tuple[str, str], dict[str, Any]]
    ) -> None:
        (page,) = (report.parent / "pages").iterdir()
        assert page.read_text() == "<p>lanes</p>"
        described = shown["Airflow 3.0.6", "test_held[a]"]["descriptionHtml"]
        assert f'<a href="../pages/{page.name}">timeline</a>' in described

    def test_nobody_is_told_that_it_is_looked_at(self, report: Path) -> None:
        pages = list(report.parent.rglob("*.html"))
        assert len(pages) >= 3
        for page in pages:
            assert "googletagmanager" not in page.read_text()
            assert "gtag(" not in page.read_text()


def test_taking_out_the_analytics_leaves_the_rest() -> None:
    page = (
        "<p>before</p>\n    <script async "
        'src="https://www.googletagmanager.com/gtag/js?id=G-X"></script>\n'
        "    <script>\n        window.dataLayer = [];\n        gtag('js');\n    </script>\n"
        "<script>window.app()</script>"
    )
    assert without_analytics(page) == "<p>before</p>\n<script>window.app()</script>"


@pytest.fixture
def small(tmp_path: Path) -> RunsBuilder:
    runs = RunsBuilder(tmp_path / "runs")
    runs.session(1).test("test_held[a]")
    return runs


def test_without_node_a_line_says_what_to_do(
    small: RunsBuilder,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert build(small.shelf, tmp_path / "out") is None
    (line,) = caplog.messages
    assert "no Node.js" in line
    assert "make report" in line
    assert not (tmp_path / "out").exists()


def test_an_old_node_is_told_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _stand_in(tmp_path, "echo v18.19.1")
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    assert "Node.js 18 is too old" in str(node.missing())


def test_without_allure_a_line_says_how_to_install_it(tmp_path: Path, monkeypatch: Any) -> None:
    _stand_in(tmp_path, "echo v22.0.0")
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    assert "make report" in str(node.missing(tmp_path / "cli.js"))


def test_an_error_of_allure_is_one_line_with_its_last_words(
    small: RunsBuilder,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    _stand_in(
        tmp_path,
        '[ "$1" = --version ] && { echo v22.0.0; exit; }',
        'echo "RangeError: out of memory"; echo "    at main (file.js:3:1)"; exit 134',
    )
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr(node, "missing", lambda: None)
    with caplog.at_level(logging.WARNING):
        assert build(small.shelf, tmp_path / "out") is None
    (line,) = caplog.messages
    assert line == "No Allure report: Allure failed: RangeError: out of memory"


def _stand_in(folder: Path, *script: str) -> None:
    """Put a `node` into a folder that says what it is told to."""
    (folder / "node").write_text("\n".join(["#!/bin/sh", *script, ""]))
    (folder / "node").chmod(0o755)
