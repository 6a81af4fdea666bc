"""CI asks few failed tests again, alone; what fails then too, or is much, stays red."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

ONCE = """
from pathlib import Path
def test_{name}():
    been = Path("{name}")
    if not been.exists():
        been.touch()
        assert False
"""
NEVER = "def test_{name}():\n    assert False\n"


def ask(folder: Path, **tests: str) -> subprocess.CompletedProcess[str]:
    """Run tests as CI does, four at a time, and again what failed; return how that ended."""
    for name, text in tests.items():
        (folder / f"test_{name}.py").write_text(text.format(name=name))
    script = '"$0" -m pytest -n 2 --dist loadgroup -q . || "$0" -m tests.again $?'
    return subprocess.run(
        ["sh", "-c", script, sys.executable],
        cwd=folder,
        env={**os.environ, "CI": "true", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )


def test_what_fails_only_beside_others_is_told_and_passes(tmp_path: Path) -> None:
    ended = ask(tmp_path, first=ONCE, second="def test_second():\n    pass\n")
    assert ended.returncode == 0, ended.stdout
    assert "UNSTABLE" in ended.stdout
    assert "test_first.py::test_first" in ended.stdout


def test_the_group_of_a_test_is_no_part_of_its_name(tmp_path: Path) -> None:
    grouped = "import pytest\npytestmark = pytest.mark.xdist_group('labs-2')\n" + ONCE
    assert ask(tmp_path, first=grouped).returncode == 0


def test_a_test_with_parameters_is_found_again(tmp_path: Path) -> None:
    by_version = (
        "import pytest\npytestmark = pytest.mark.parametrize('v', ['3.4.0b2', 'a b'])\n"
        + (ONCE.replace("test_{name}()", "test_{name}(v)").replace('Path("{name}")', "Path(v)"))
    )
    ended = ask(tmp_path, first=by_version)
    assert ended.returncode == 0, ended.stdout
    assert "test_first.py::test_first[3.4.0b2]" in ended.stdout


@pytest.mark.parametrize(
    "tests",
    [{"always": NEVER}, {"first": ONCE, "always": NEVER}, dict.fromkeys("abcdefghi", ONCE)],
    ids=["a fault", "a fault beside one that is not", "many"],
)
def test_a_fault_stays_red(tmp_path: Path, tests: dict[str, str]) -> None:
    assert ask(tmp_path, **tests).returncode == 1


def test_what_is_not_collected_stays_red(tmp_path: Path) -> None:
    assert ask(tmp_path, broken="import nowhere_to_be_found\n").returncode
