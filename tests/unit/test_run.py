"""A run that cannot begin leaves nobody looking on."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from common.errors import UserError
from lab.base import Lab, ProcessEnd
from oracle.events import Header
from recorder import audit
from run import run


class Looking:
    """A stand-in of the recorder, which says whether it is at work."""

    def __init__(self, path: Path, header: Header, *_: object, **__: object) -> None:
        self.path, self.header, self.at_work = path, header, False

    def start(self) -> None:
        """Begin."""
        self.at_work = True

    def stop(self) -> Path:
        """End, however often."""
        self.at_work = False
        return self.path

    def note(self, event: object) -> None:
        """Take in an event."""

    def now(self) -> float:
        """Return a time."""
        return 0.0


class Ailing:
    """A stand-in of a lab whose health cannot be asked about."""

    kind, namespace, release, pace, workers = "embedded", "default", "", 0.04, "processes"
    schedulers = daemons = ("scheduler-1",)
    neighbours: tuple[str, ...] = ()
    not_covered: tuple[str, ...] = ()
    airflow = SimpleNamespace(label="3.0.6")
    pod_log = name_of = answers = None

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.asked = 0

    def logs(self) -> dict[str, Path]:
        """Return no logs."""
        return {}

    def dsn(self) -> str:
        """Return a database that nobody asks."""
        return "host=127.0.0.1 port=1"

    def kubernetes(self) -> None:
        """Return no client."""

    def ends(self) -> list[ProcessEnd]:
        """Count how often this was asked."""
        self.asked += 1
        return []

    def problems(self) -> list[str]:
        """Fail, as where the database does not answer."""
        raise UserError("The database does not answer.")


def test_a_run_that_cannot_begin_is_looked_at_by_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "Recorder", Looking)
    monkeypatch.setattr(audit, "install", lambda _, **__: None)
    monkeypatch.setattr(run, "known_secrets", lambda _: ())
    lab = Ailing(tmp_path)
    begun: Any = run.Run(cast("Lab", lab), tmp_path / "test", "test", 1)
    with pytest.raises(UserError, match="does not answer"):
        begun.begin()
    assert not begun.recorder.at_work
    asked = lab.asked
    begun.abandon()
    assert lab.asked == asked, "and once more is nothing"
