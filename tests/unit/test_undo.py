"""Undo lists: run the latest first, and in the words of the version that wrote them."""

import json
import sys
from pathlib import Path

import pytest

from lab.undo import Undo, present


def test_undoing_runs_the_latest_first_whether_or_not_each_works(tmp_path: Path) -> None:
    undo = Undo(tmp_path)
    for word in ("first", "second"):
        undo.add(["sh", "-c", f"echo {word} >> {tmp_path}/ran"])
    undo.add(["no-such-program"])
    struck = ["sh", "-c", f"echo struck >> {tmp_path}/ran"]
    undo.add(struck)
    undo.done(struck)

    assert undo.run() == 3
    assert (tmp_path / "ran").read_text() == "second\nfirst\n"
    assert undo.run() == 0


CD = ["sh", "-c", 'cd "$1" && shift && exec "$@"', "sh", "/checkout", "/venv/bin/python", "-m"]


@pytest.mark.parametrize(
    ("before", "now"),
    [
        (
            [*CD, "lab.attach.undo", "/labs/3.0.6-ab", "resume", "pod-0"],
            [*CD, "lab.cluster.undo", "/labs/3.0.6-ab", "resume", "pod-0"],
        ),
        (["python", "-m", "oracle", "remove-audit"], ["python", "-m", "recorder", "remove"]),
        (["python", "-m", "chaos", "remove"], ["python", "-m", "chaos", "remove"]),
        (["docker", "exec", "-m", "oracle"], ["docker", "exec", "-m", "oracle"]),
        (["python", "-m"], ["python", "-m"]),
    ],
)
def test_modules_are_called_what_they_are_called_now(before: list[str], now: list[str]) -> None:
    assert present(before) == now


def test_an_undo_list_of_an_older_version_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = tmp_path / "lab" / "cluster" / "undo.py"
    module.parent.mkdir(parents=True)
    module.write_text("import pathlib, sys; pathlib.Path(sys.argv[1], 'ran').touch()\n")
    monkeypatch.chdir(tmp_path)
    command = [sys.executable, "-m", "lab.attach.undo", str(tmp_path), "clear"]
    (tmp_path / "undo.json").write_text(json.dumps([command]))

    assert Undo(tmp_path).run() == 1
    assert (tmp_path / "ran").exists()
    assert json.loads((tmp_path / "undo.json").read_text()) == []


def test_who_is_killed_while_writing_leaves_the_list_of_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    undo = Undo(tmp_path)
    undo.add(["first"])

    def killed(*_: object) -> str:
        raise KeyboardInterrupt

    monkeypatch.setattr(json, "dumps", killed)
    monkeypatch.setattr(json, "dump", killed)
    with pytest.raises(KeyboardInterrupt):
        undo.add(["second"])
    assert json.loads((tmp_path / "undo.json").read_text()) == [["first"]]


def test_a_list_that_a_killed_session_left_in_halves_keeps_nobody_from_starting(
    tmp_path: Path,
) -> None:
    (tmp_path / "undo.json").write_text('[["first", ')
    assert Undo(tmp_path).run() == 0
