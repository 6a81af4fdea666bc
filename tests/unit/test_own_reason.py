"""Airflow's own reason for a 5xx, from what its API server logged meanwhile."""

from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from common.errors import UserError
from lab.base import Lab
from run.logs import OwnReason

TRACE = (
    'Traceback (most recent call last):\nsqlalchemy.exc.ProgrammingError: no field "map_index"\n'
)


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "api-server.log"
    path.write_text("ValueError: an earlier test's\n")
    return path


def reason(log: Path, *secrets: str) -> OwnReason:
    logs = {"api-server": log, "scheduler-1": log.with_name("scheduler-1.log")}
    return OwnReason(cast("Lab", SimpleNamespace(logs=lambda: logs)), secrets)


def failed(own: OwnReason, log: Path, message: str) -> str:
    with log.open("a") as file:
        file.write(TRACE)
    with pytest.raises(UserError) as caught, own.told():
        raise UserError(message, "Look.")
    return str(caught.value)


def test_the_exception_that_was_logged_meanwhile_is_added(log: Path) -> None:
    assert failed(reason(log), log, "It answered 500.") == (
        'It answered 500. Its log says: sqlalchemy.exc.ProgrammingError: no field "map_index" Look.'
    )


def test_secrets_of_the_log_are_hidden(log: Path) -> None:
    assert "map_index" not in failed(reason(log, 'field "map_index"'), log, "It answered 500.")


def test_what_is_no_failure_of_the_servers_is_left_as_it_is(log: Path) -> None:
    assert failed(reason(log), log, "It answered 404.") == "It answered 404. Look."


def test_what_was_logged_before_is_no_reason(log: Path) -> None:
    own = reason(log)
    with pytest.raises(UserError, match=r"^It answered 500\.$"), own.told():
        raise UserError("It answered 500.")
