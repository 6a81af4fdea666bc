"""What of a user's folder of DAGs comes into pods, and what does not."""

import io
import os
import tarfile
from pathlib import Path

import pytest

from common.errors import UserError
from lab.kind.owndags import MOST_BYTES, archive


def unpacked(folder: Path) -> dict[str, tarfile.TarInfo]:
    with tarfile.open(fileobj=io.BytesIO(archive(folder))) as made:
        return {each.name: each for each in made.getmembers()}


def write(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)


def test_sources_and_what_is_beside_them_come_and_caches_do_not(tmp_path: Path) -> None:
    there = ("etl.py", "below/more.py", "sql/query.sql", ".airflowignore", "a name with spaces.py")
    write(tmp_path, *there, ".git/config", "__pycache__/etl.cpython-311.pyc", "old.pyc")
    assert sorted(unpacked(tmp_path)) == sorted(there)


def test_what_links_lead_to_comes_once(tmp_path: Path) -> None:
    write(tmp_path, "dags/etl.py", "shared/helper.py")
    (tmp_path / "dags/lib").symlink_to(tmp_path / "shared")
    (tmp_path / "dags/again").symlink_to(tmp_path / "dags")
    (tmp_path / "dags/nowhere.py").symlink_to(tmp_path / "gone.py")
    found = unpacked(tmp_path / "dags")
    assert sorted(found) == ["etl.py", "lib/helper.py"]
    assert all(each.isreg() for each in found.values())


def test_pods_may_read_what_its_owner_alone_may(tmp_path: Path) -> None:
    write(tmp_path, "etl.py")
    (tmp_path / "etl.py").chmod(0o600)
    assert unpacked(tmp_path)["etl.py"].mode == 0o644


def test_a_folder_that_no_configmap_holds_is_refused_with_what_is_large(tmp_path: Path) -> None:
    write(tmp_path, "etl.py")
    (tmp_path / "model.bin").write_bytes(os.urandom(MOST_BYTES))
    with pytest.raises(UserError) as caught:
        archive(tmp_path)
    assert "1.0 MB packed; a ConfigMap holds 1." in str(caught.value)
    assert "model.bin (1.0 MB), etl.py (0.0 MB)" in str(caught.value)
