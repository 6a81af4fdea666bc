"""Which labs `python -m lab down` and `logs` mean, and what `status` shows of a daemon's end."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from common.errors import UserError
from common.paths import PROJECT
from lab.__main__ import LivingLab, ended, named, secrets, to_read, to_take_down
from lab.base import Airflow, ProcessEnd
from lab.spec import LabSpec, read_checkout, read_owner, write_request
from lab.supervised import SupervisedLab

HERE = str(PROJECT)
OLD = LivingLab(Path("labs/3.0.6-aa11"), "", 0)
OURS = LivingLab(Path("labs/3.0.6-ab22"), HERE, 0)
THEIRS = LivingLab(Path("labs/3.3.2-cc33"), "/elsewhere/airflow-ha-chaos", 0)
SESSION = LivingLab(Path("labs/3.3.2-dd44"), HERE, 4711)
LABS = [OLD, OURS, THEIRS, SESSION]


def test_down_means_what_this_checkout_booted_and_stays() -> None:
    assert to_take_down(LABS, [], every=False) == [OLD, OURS]


def test_down_all_means_other_checkouts_too_but_no_test_sessions() -> None:
    assert to_take_down(LABS, [], every=True) == [OLD, OURS, THEIRS]


def test_a_name_means_that_lab_whoever_booted_it() -> None:
    assert to_take_down(LABS, ["3.3.2-cc33"], every=False) == [THEIRS]
    assert to_take_down(LABS, ["3.0.6-ab", "3.3.2-c"], every=False) == [OURS, THEIRS]


def test_a_test_sessions_lab_is_left_to_it() -> None:
    with pytest.raises(UserError, match=r"3\.3\.2-dd44 is a test session's \(process 4711\)"):
        to_take_down(LABS, ["3.3.2-dd44"], every=True)


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        ("3.1.8-ee55", r"No lab is called '3\.1\.8-ee55'\. There are: 3\.0\.6-aa11, "),
        ("3.0.6", r"More than one lab begins with '3\.0\.6'\. There are: 3\.0\.6-aa11, 3\.0\.6-ab"),
        ("", "No lab is called ''"),
    ],
)
def test_a_name_that_means_none_or_two_is_refused_with_the_names(name: str, fault: str) -> None:
    with pytest.raises(UserError, match=fault):
        named(LABS, name)


def test_logs_are_of_the_newest_of_this_checkout_or_of_the_one_named() -> None:
    assert to_read([OURS, THEIRS], None) == OURS
    assert to_read(LABS, None) == SESSION
    assert to_read(LABS, "3.3.2-cc33") == THEIRS
    with pytest.raises(UserError, match=r"--lab names one of another checkout: 3\.3\.2-cc33"):
        to_read([THEIRS], None)


def test_a_lab_remembers_which_checkout_booted_it(tmp_path: Path) -> None:
    spec = LabSpec(Airflow("3.0.6", "3.0.6"))
    write_request(tmp_path, spec, (4711, 1.5))

    assert (read_checkout(tmp_path), read_owner(tmp_path)) == (HERE, (4711, 1.5))


def test_a_lab_of_before_belongs_to_whoever_asks(tmp_path: Path) -> None:
    (tmp_path / "spec.json").write_text(json.dumps({"spec": {}, "owner": None}))

    assert read_checkout(tmp_path) == ""
    assert LivingLab(tmp_path, "", 0).own


def test_the_last_line_of_a_daemon_that_ended_shows_no_secret() -> None:
    lab = SimpleNamespace(
        dsn=lambda: "host=127.0.0.1 dbname=airflow password=Zq7nopasswordform",
        endpoints={"secret": "0f3c5a99e1"},
    )
    words = "E: no route for Zq7nopasswordform with 0f3c5a99e1 at postgresql://u:hunter2@db/x"
    end = ProcessEnd("scheduler-1", 1, 0.0, words, 5.0)

    line = ended(end, secrets(cast("SupervisedLab", lab)))

    assert "scheduler-1 ENDED by itself with 1 at " in line
    assert line.endswith(
        "and was started again (E: no route for *** with *** at postgresql://***@db/x)"
    )


def test_a_daemon_that_stays_away_is_said_to() -> None:
    assert ended(ProcessEnd("triggerer-1", -9, 0.0), []).endswith("and is not back")
