"""A site takes the old one's place whole, or not at all."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from common.errors import UserError
from reports.dashboard.publish import mark, replacing


def write(out: Path, text: str) -> None:
    with replacing(out) as folder:
        (folder / "index.html").write_text(text)
        mark(folder, 1)


def leftovers(out: Path) -> list[str]:
    return [path.name for path in out.parent.iterdir() if path != out]


def test_the_new_one_takes_the_place_of_the_old_one_and_nothing_is_left(tmp_path: Path) -> None:
    out = tmp_path / "deep" / "site"
    write(out, "old")
    (out / "stale.html").write_text("")
    write(out, "new")
    assert (out / "index.html").read_text() == "new"
    assert not (out / "stale.html").exists()
    assert leftovers(out) == []


@pytest.mark.parametrize("trouble", [KeyboardInterrupt, UserError("no")])
def test_whoever_interrupts_it_keeps_the_old_one(tmp_path: Path, trouble: BaseException) -> None:
    out = tmp_path / "site"
    write(out, "old")

    def stop() -> None:
        with replacing(out) as folder:
            (folder / "index.html").write_text("half")
            raise trouble

    with pytest.raises((KeyboardInterrupt, UserError)):
        stop()
    assert (out / "index.html").read_text() == "old"
    assert leftovers(out) == []


def test_what_a_killed_build_leaves_is_removed_by_the_next(tmp_path: Path) -> None:
    out = tmp_path / "site"
    write(out, "old")
    killed = (
        "import os, signal, sys; from pathlib import Path\n"
        "from reports.dashboard.publish import replacing\n"
        "with replacing(Path(sys.argv[1])) as folder:\n"
        "    (folder / 'index.html').write_text('half')\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    subprocess.run([sys.executable, "-c", killed, str(out)], check=False)
    assert (out / "index.html").read_text() == "old"
    assert len(leftovers(out)) == 1
    write(out, "new")
    assert (out / "index.html").read_text() == "new"
    assert leftovers(out) == []


def test_a_build_that_was_killed_between_its_renames_has_the_old_one_put_back(
    tmp_path: Path,
) -> None:
    out = tmp_path / "site"
    write(out, "old")
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    out.rename(tmp_path / f".site.building-{dead.pid}-old")
    with replacing(out) as folder:
        assert (out / "index.html").read_text() == "old"
        (folder / "index.html").write_text("new")
        mark(folder, 1)
    assert (out / "index.html").read_text() == "new"
    assert leftovers(out) == []


def test_what_a_living_build_has_put_aside_is_left_alone(tmp_path: Path) -> None:
    aside = tmp_path / f".site.building-{os.getppid()}-old"
    aside.mkdir()
    write(tmp_path / "site", "new")
    assert aside.exists()


def test_a_build_beside_it_that_is_alive_is_left_alone(tmp_path: Path) -> None:
    other = tmp_path / f".site.building-{os.getppid()}"
    other.mkdir()
    write(tmp_path / "site", "new")
    assert other.exists()


def test_a_folder_that_is_no_site_is_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(UserError, match="something other than a report"):
        write(tmp_path, "new")
    assert (tmp_path / "thesis.txt").exists()


def test_a_file_in_its_place_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "site").write_text("")
    with pytest.raises(UserError, match="is not a folder"):
        write(tmp_path / "site", "new")


def test_a_place_that_cannot_be_written_is_one_line() -> None:
    with pytest.raises(UserError, match="cannot be written"):
        write(Path("/proc/site"), "new")
