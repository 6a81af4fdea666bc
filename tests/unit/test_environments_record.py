"""What is installed is what the index holds, whatever was typed into uv's cache meanwhile."""

import os
import subprocess
import zipfile
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
import uv

from lab.environments.recipe import Recipe, python_of, site_packages
from lab.environments.seal import altered
from lab.environments.uvtool import InstallError
from tests.unit.environments_fakes import write_wheel

PINS = "apache-airflow-core==3.0.6\n"
CODE = {"airflow/models/dagrun.py": "LIMIT = 16\n"}


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Serve an index with a wheel of Airflow; caches of our own; return the wheel's folder."""
    folder = tmp_path / "index/apache-airflow-core"
    folder.mkdir(parents=True)
    wheel = write_wheel(folder, folder.name, "3.0.6", code=CODE).name
    (folder / "index.html").write_text(f'<!DOCTYPE html><a href="{wheel}">{wheel}</a>')
    handler = partial(SimpleHTTPRequestHandler, directory=str(tmp_path / "index"))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("UV_DEFAULT_INDEX", f"http://127.0.0.1:{server.server_port}/")
        monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "uv"))
        monkeypatch.setenv("HA_CHAOS_CACHE", str(tmp_path / "cache"))
        yield folder
        server.shutdown()


def another(tmp_path: Path) -> Path:
    """Return the module of an environment that somebody else made, as uv makes one: by links."""
    venv = tmp_path / "theirs"
    environ = {**os.environ, "UV_LINK_MODE": "hardlink"}
    run = partial(subprocess.run, check=True, capture_output=True, env=environ)
    run([uv.find_uv_bin(), "venv", venv])
    run([uv.find_uv_bin(), "pip", "install", "--python", python_of(venv), PINS.strip()])
    return site_packages(venv) / "airflow/models/dagrun.py"


def ours() -> Path:
    """Return the module of our environment; with requirements above its pins it is not started."""
    python, _ = Recipe("3.0.6", PINS, extra=("apache-airflow-core",)).make()
    return site_packages(python.parents[1]) / "airflow/models/dagrun.py"


@pytest.mark.usefixtures("index")
def test_an_edit_of_another_environment_is_none_of_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UV_LINK_MODE", "hardlink")
    theirs = another(tmp_path)
    mine = ours()
    theirs.write_text("LIMIT = 1\n")
    assert theirs.stat().st_nlink > 1
    assert mine.read_text() == CODE["airflow/models/dagrun.py"]
    files = [path for path in mine.parents[4].rglob("*") if path.is_file()]
    assert {path.stat().st_nlink for path in files} == {1}


@pytest.mark.usefixtures("index")
def test_a_cache_that_was_edited_through_another_environment_is_not_believed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    another(tmp_path).write_text("LIMIT = 1\n")
    assert ours().read_text() == CODE["airflow/models/dagrun.py"]
    told = "uv's cache has another airflow/models/dagrun.py than apache-airflow-core: fetching it"
    assert [record.message for record in caplog.records if record.message.startswith(told)]


def test_an_index_whose_wheel_was_tampered_with_is_refused(index: Path) -> None:
    wheel = index / "apache_airflow_core-3.0.6-py3-none-any.whl"
    with zipfile.ZipFile(wheel) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    files["airflow/models/dagrun.py"] = b"LIMIT = 1\n"
    with zipfile.ZipFile(wheel, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    with pytest.raises(InstallError, match=r"RECORD does not vouch for airflow/models/dagrun\.py"):
        ours()


@pytest.mark.usefixtures("index")
def test_what_differs_from_its_record_is_told_by_package_and_file() -> None:
    mine = ours()
    site = mine.parents[2]
    assert altered(site) == []
    mine.unlink()
    (found,) = altered(site)
    assert (found.requirement, found.file) == (
        "apache-airflow-core==3.0.6",
        "airflow/models/dagrun.py",
    )
    assert altered(site, frozenset({"apache-airflow-core"})) == []


def test_a_file_that_two_packages_have_is_right_as_either_has_it(tmp_path: Path) -> None:
    for name in ("one", "other"):
        with zipfile.ZipFile(
            write_wheel(tmp_path, name, "1", code={"tool.py": f"# {name}\n"})
        ) as it:
            it.extractall(tmp_path / "site")
    assert (tmp_path / "site/tool.py").read_text() == "# other\n"
    assert altered(tmp_path / "site") == []
    (tmp_path / "site/tool.py").write_text("# neither\n")
    assert [found.name for found in altered(tmp_path / "site")] == ["one", "other"]
