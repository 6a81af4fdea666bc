"""What a kind lab needs is found, or named as missing with the way to get it."""

from pathlib import Path

import pytest

from common.errors import UserError
from common.paths import CACHE_VARIABLE
from lab.kind import tools


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """The fetched programs' folder and the only one on PATH, both empty."""
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    on_path = tmp_path / "bin"
    on_path.mkdir()
    monkeypatch.setenv("PATH", str(on_path))
    tools.tools_dir().mkdir(parents=True)
    return tools.tools_dir(), on_path


def program(path: Path) -> Path:
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    return path


def test_the_fetched_program_goes_before_the_one_on_path(folders: tuple[Path, Path]) -> None:
    fetched, on_path = folders
    own = program(on_path / "kind")
    assert tools.find("kind") == own
    ours = program(fetched / "kind")
    assert tools.find("kind") == ours


def test_a_missing_program_comes_with_the_way_to_get_it(folders: tuple[Path, Path]) -> None:
    assert folders
    with pytest.raises(UserError) as told:
        tools.find("helm")
    assert told.value.message == "helm is missing."
    assert "make tools" in told.value.hint


def test_all_that_is_missing_is_said_at_once(folders: tuple[Path, Path]) -> None:
    with pytest.raises(UserError, match="needs docker, kind and helm, which are missing"):
        tools.require()
    program(folders[1] / "docker")
    with pytest.raises(UserError) as told:
        tools.require()
    assert told.value.message == "A kind lab needs kind and helm, which are missing."
    assert told.value.hint.count("make tools") == 1


def test_an_engine_that_does_not_answer_is_told_by_its_address(
    folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("docker", "kind", "helm"):
        program(folders[0] / name)
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none.sock")
    with pytest.raises(UserError) as told:
        tools.require()
    assert f"unix://{tmp_path}/none.sock does not answer: No such file" in told.value.message
    assert "\n" not in str(told.value)


def test_a_command_names_the_engine_for_whoever_runs_it_later(
    folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    docker = str(program(folders[1] / "docker"))
    monkeypatch.setenv("DOCKER_HOST", "tcp://127.0.0.1:1")
    assert tools.docker_argv("ps") == [docker, "--host", "tcp://127.0.0.1:1", "ps"]
    monkeypatch.delenv("DOCKER_HOST")
    assert tools.docker_argv("ps") == [docker, "ps"]
