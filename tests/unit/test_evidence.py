"""What a reader of Allure's report sees of a run: steps with their times, files within bounds."""

from pathlib import Path

import pytest
from allure_commons import model2

from harness.evidence import bounded, steps
from harness.results import shape
from oracle.events import Event, FaultEvent, HoldEvent, NoteEvent
from reports.records import issue_link

HEAD = "2026 head\n"
TAIL = "2026 tail\n"


def test_a_file_within_its_bound_is_told_from_begin_to_end(tmp_path: Path) -> None:
    path = tmp_path / "tests" / "t" / "logs" / "scheduler-1.log"
    path.parent.mkdir(parents=True)
    path.write_text(HEAD + "middle\n" * 1_000 + TAIL)
    told = bounded(path, 200)
    assert len(told) < 330
    assert told.startswith(HEAD)
    assert told.endswith(TAIL)
    assert "the whole is tests/t/logs/scheduler-1.log in the run folder" in told
    left_out = int(told.split("... ")[1].split(" bytes")[0].replace(",", ""))
    assert left_out == path.stat().st_size - told.count("middle\n") * 7 - len(HEAD + TAIL)


def test_faults_and_holds_are_steps_that_last() -> None:
    happened: list[Event] = [
        FaultEvent(1.0, "begin", "network-latency", "scheduler-2", "50 ms"),
        HoldEvent(2.0, "hold", "running-dag-runs", "scheduler-1"),
        NoteEvent(2.5, "a stands"),
        HoldEvent(3.0, "held", "running-dag-runs", "scheduler-1", "pid 7"),
        HoldEvent(4.0, "release", "running-dag-runs", "scheduler-1"),
        FaultEvent(6.5, "end", "network-latency", "scheduler-2"),
    ]
    told = [(step.name, step.start, step.stop) for step in steps(happened, epoch=1_000.0)]
    assert told == [
        ("network-latency on scheduler-2 (50 ms)", 1_001_000, 1_006_500),
        ("scheduler-1 will be held at running-dag-runs", 1_002_000, 1_004_000),
        ("a stands", 1_002_500, 1_002_500),
        ("scheduler-1 is held at running-dag-runs (pid 7)", 1_003_000, 1_003_000),
    ]


@pytest.mark.issue("57618")
@pytest.mark.parametrize("lab", ["/somewhere/of/mine/airflow.whl"], ids=["embedded-airflow.whl"])
def test_a_result_says_nothing_of_the_machine_it_was_made_on(
    request: pytest.FixtureRequest, lab: str
) -> None:
    """Only what its item knows."""
    result = model2.TestResult(
        parameters=[model2.Parameter("lab", repr(lab))],
        labels=[model2.Label("host", "my-machine"), model2.Label("thread", "1-MainThread")],
    )
    shape(result, request.node)
    said = str(result)
    assert "/somewhere" not in said
    assert "my-machine" not in said
    assert "1-MainThread" in said
    assert [(one.type, one.name) for one in result.links] == [("issue", "apache/airflow#57618")]
    labels = {label.name: label.value for label in result.labels}
    assert labels["tag"] == "issue: 57618"
    assert labels["feature"].startswith("What a reader of Allure's report sees of a run")
    assert (result.name, result.description) == (request.node.name, "Only what its item knows.")


@pytest.mark.parametrize(
    ("issue", "told"),
    [
        (
            "https://github.com/apache/airflow/issues/57618",
            ("https://github.com/apache/airflow/issues/57618", "apache/airflow#57618"),
        ),
        (
            "https://github.com/apache/airflow/issues/45388 (closed as stale)",
            ("https://github.com/apache/airflow/issues/45388", "apache/airflow#45388"),
        ),
        ("https://example.org/1", ("https://example.org/1", "https://example.org/1")),
        ("none: it is Airflow's design", None),
    ],
)
def test_an_issue_is_named_as_people_name_it(issue: str, told: tuple[str, str] | None) -> None:
    assert issue_link(issue) == told
