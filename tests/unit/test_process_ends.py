"""The ends of Airflow's daemons: read from a log or a pod, and told once."""

from datetime import UTC, datetime
from pathlib import Path
from typing import cast

import pytest
from kubernetes import client

from common.errors import UserError
from common.files import last_words
from lab.base import Lab, ProcessEnd
from lab.kube.pods import processes
from oracle.ends import end_text
from oracle.events import ProcessEvent
from run.ends import Ends

CRASH = """\
Traceback (most recent call last):
  File "scheduler_job_runner.py", line 1, in _do_scheduling
sqlalchemy.exc.IntegrityError: (psycopg2.errors.UniqueViolation) duplicate key value violates \
unique constraint "task_instance_current_key"
[SQL: INSERT INTO task_instance ...]
(Background on this error at: https://sqlalche.me/e/20/gkpj)
"""


def test_the_last_words_are_the_exception_not_what_follows_it(tmp_path: Path) -> None:
    log = tmp_path / "scheduler-1.log"
    log.write_text("ValueError: outlived\n" + "at work\n" * 100 + CRASH)

    assert last_words(log).startswith("sqlalchemy.exc.IntegrityError: (psycopg2")


def test_without_an_exception_near_the_end_they_are_the_last_line(tmp_path: Path) -> None:
    log = tmp_path / "scheduler-1.log"
    log.write_text("ValueError: outlived\n" + "at work\n" * 100 + "Exiting gracefully\n\n")

    assert last_words(log) == "Exiting gracefully"
    assert last_words(tmp_path / "none.log") == ""


@pytest.mark.parametrize(
    ("code", "detail", "told"),
    [
        (1, "OSError: gone", "ended with exit code 1 (OSError: gone)"),
        (-11, "", "ended by SIGSEGV"),
        (139, "", "ended by SIGSEGV"),
        (137, "OOMKilled", "ended by SIGKILL (OOMKilled)"),
        (None, "", "ended"),
    ],
)
def test_how_a_process_ended_is_told(code: int | None, detail: str, told: str) -> None:
    assert end_text(ProcessEvent(1.0, "ended", "scheduler-1", code, detail)) == told


class Pods:
    """A stand-in of the Kubernetes API that has one pod."""

    def __init__(self, status: client.V1ContainerStatus) -> None:
        self._pod = client.V1Pod(
            metadata=client.V1ObjectMeta(name="scheduler-0"),
            spec=client.V1PodSpec(
                containers=[client.V1Container(name="scheduler")], node_name="node"
            ),
            status=client.V1PodStatus(phase="Running", container_statuses=[status]),
        )

    def list_namespaced_pod(self, _: str, **__: str) -> client.V1PodList:
        """Return all pods."""
        return client.V1PodList(items=[self._pod])


def container(restarts: int, last: client.V1ContainerState) -> client.V1ContainerStatus:
    started = datetime(2026, 11, 28, 12, 0, 10, tzinfo=UTC)
    running = client.V1ContainerState(running=client.V1ContainerStateRunning(started_at=started))
    return client.V1ContainerStatus(
        name="scheduler",
        image="airflow",
        image_id="airflow",
        ready=True,
        restart_count=restarts,
        state=running,
        last_state=last,
    )


def test_a_restarted_container_tells_its_last_end() -> None:
    finished = datetime(2026, 11, 28, 12, 0, 0, tzinfo=UTC)
    terminated = client.V1ContainerStateTerminated(
        exit_code=1, finished_at=finished, reason="Error", message="at work\nOSError: gone\n"
    )
    status = container(1, client.V1ContainerState(terminated=terminated))
    [pod] = processes(Pods(status), "airflow", "component=scheduler")

    # The API's times are whole seconds, so both are up to one later.
    at = finished.timestamp() + 1.0
    assert pod.end == ProcessEnd("scheduler-0", 1, at, "OSError: gone", at + 10.0)


def test_a_container_that_never_ended_tells_none() -> None:
    status = container(0, client.V1ContainerState())
    [pod] = processes(Pods(status), "airflow", "component=scheduler")

    assert pod.end is None


class Scripted:
    """A stand-in of a lab, whose ends are what a test says."""

    pace = 0.04
    daemons = ("scheduler-1", "scheduler-2")

    def __init__(self, *ends: ProcessEnd) -> None:
        self.found = list(ends)
        self.mute = False

    def ends(self) -> list[ProcessEnd]:
        """Return them, or fail as a lab that is gone does."""
        if self.mute:
            raise UserError("The lab is gone.")
        return self.found


Told = list[tuple[str, str, int | None, str]]


def watch(lab: Scripted) -> tuple[Ends, Told]:
    told: Told = []

    def note(op: str, process: str, at: float, exit_code: int | None, detail: str) -> None:
        assert at > 0
        told.append((op, process, exit_code, detail))

    return Ends(cast("Lab", lab), note), told


WATCHED = [("watched", "scheduler-1", None, ""), ("watched", "scheduler-2", None, "")]


def test_each_end_of_a_run_is_told_once_and_those_before_it_never() -> None:
    before = ProcessEnd("scheduler-1", 1, 10.0, "an earlier test's", 11.0)
    lab = Scripted(before)
    ends, told = watch(lab)
    ends.begin()
    gone = ProcessEnd("scheduler-2", 1, 20.0, "OSError: gone")
    lab.found = [before, gone]
    ends._look()
    ends._look()
    lab.found = [before, ProcessEnd("scheduler-2", 1, 20.0, "OSError: gone", 25.0)]
    ends.stop()

    assert told == [
        *WATCHED,
        ("ended", "scheduler-2", 1, "OSError: gone"),
        ("started", "scheduler-2", None, ""),
    ]


def test_once_stopped_nothing_more_is_told() -> None:
    lab = Scripted()
    ends, told = watch(lab)
    ends.begin()
    ends.stop()
    lab.found = [ProcessEnd("scheduler-1", 1, 20.0)]
    ends.stop()

    assert told == WATCHED


def test_a_lab_that_cannot_answer_is_told_of_by_nobody() -> None:
    lab = Scripted()
    lab.mute = True
    ends, told = watch(lab)
    ends.begin()
    ends.stop()

    assert told == []


def test_a_lab_that_is_mute_for_a_while_is_asked_again() -> None:
    lab = Scripted()
    ends, told = watch(lab)
    ends.begin()
    lab.mute = True
    ends._look()
    lab.mute, lab.found = False, [ProcessEnd("scheduler-1", -11, 20.0)]
    ends.stop()

    assert told == [*WATCHED, ("ended", "scheduler-1", -11, "")]
