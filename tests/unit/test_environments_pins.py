import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

from common.errors import UserError
from lab.environments import __main__ as commands
from lab.environments import pins, store
from lab.environments.pins import newest, pinned
from lab.environments.preparation import command, pin, prepare
from lab.environments.releases import requirements, written
from lab.environments.uvtool import InstallError, uv_reason
from tests.unit.environments_fakes import write_wheel


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Serve an index of empty wheels that tells no upload times, and use a cache of its own."""
    for requirement in requirements("3.0.1"):
        folder = tmp_path / "index" / Requirement(requirement).name
        folder.mkdir(parents=True)
        wheel = write_wheel(folder, folder.name, "3.0.1").name
        (folder / "index.html").write_text(f'<!DOCTYPE html><a href="{wheel}">{wheel}</a>')
    handler = partial(SimpleHTTPRequestHandler, directory=str(tmp_path / "index"))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("UV_DEFAULT_INDEX", f"http://127.0.0.1:{server.server_port}/")
        monkeypatch.setenv("UV_NO_CACHE", "1")
        monkeypatch.setenv("HA_CHAOS_CACHE", str(tmp_path / "cache"))
        yield
        server.shutdown()


@pytest.fixture
def versions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "versions"
    folder.mkdir()
    monkeypatch.setattr(pins, "VERSIONS", folder)
    return folder


def test_the_versions_are_listed_by_age() -> None:
    assert pinned() == sorted(pinned(), key=Version)
    assert not Version(newest()).is_prerelease
    assert all(Version(v).is_prerelease for v in pinned() if Version(v) > Version(newest()))


def test_the_default_is_the_newest_final_release_though_a_newer_beta_is_pinned(
    versions: Path,
) -> None:
    for version in ("3.3.2", "3.4.0a1", "3.4.0b2", "3.4.0rc1"):
        (versions / f"{version}.txt").touch()
    assert newest() == "3.3.2"
    assert pinned() == ["3.3.2", "3.4.0a1", "3.4.0b2", "3.4.0rc1"]
    (versions / "3.4.0.txt").touch()
    assert newest() == "3.4.0"


@pytest.mark.parametrize("version", pinned())
def test_a_pin_file_installs_anywhere_and_says_how_it_was_made(version: str) -> None:
    first, *lines = pins.pin_path(version).read_text().splitlines()
    made = (
        rf"# python -m lab\.environments pin {version} --exclude-newer 20\d\d-\d\d-\d\dT\d\d:.*Z.*"
    )
    assert re.fullmatch(made, first)
    for line in lines:
        assert re.fullmatch(r"[a-z0-9-]+==[0-9][a-z0-9.]*( ; .+)?", line), line


@pytest.mark.parametrize("version", pinned())
def test_a_pin_file_has_all_that_the_lab_runs(version: str) -> None:
    packages = pins.locked_packages(pins.pin_path(version).read_text())
    assert packages["apache-airflow"] == packages["apache-airflow-core"] == version
    assert pins.unmet(requirements(version), packages) == ()


def test_the_nearest_pinned_version_is_not_above() -> None:
    assert pins.nearest("3.0.6+fix1") == "3.0.6"
    assert pins.nearest("3.1.8.dev0") == "3.1.1"
    assert pins.nearest("99.0") == pinned()[-1]
    assert pins.nearest("3.0.0") == pinned()[0]


def test_an_instant_is_written_in_utc_wherever_it_was_meant() -> None:
    instant = datetime(2026, 10, 21, 1, 30, tzinfo=timezone(timedelta(hours=2)))
    assert written(instant) == "2026-10-20T23:30:00Z"
    assert "--exclude-newer 2026-10-20T23:30:00Z" in command("3.4.0b2", instant, ())


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("2026-10-21", datetime(2026, 10, 21, tzinfo=UTC)),
        ("2026-10-21T00:00:00Z", datetime(2026, 10, 21, tzinfo=UTC)),
        ("2026-10-21T02:00:00+02:00", datetime(2026, 10, 21, tzinfo=UTC)),
    ],
)
def test_a_limit_is_an_instant(
    given: str, meant: datetime, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked: list[datetime] = []

    def pin_it(*given: Any) -> Path:
        asked.append(given[1])
        return tmp_path

    monkeypatch.setattr(commands, "pin", pin_it)
    assert commands.main(["pin", "3.4.0b2", "--exclude-newer", given]) == 0
    assert asked == [meant]


@pytest.mark.parametrize("given", ["2026-10-21T00:00:00", "yesterday", "2026-13-01"])
def test_a_limit_that_is_another_instant_elsewhere_is_refused(
    given: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        commands.main(["pin", "3.4.0b2", "--exclude-newer", given])
    assert "is not an instant such as" in capsys.readouterr().err


def test_an_airflow_that_prefers_psycopg_3_is_pinned_with_it_and_with_the_others() -> None:
    assert "psycopg[binary]" in requirements("3.4.0b2")
    assert not [text for text in requirements("3.3.2") if text.startswith("psycopg[")]
    packages = pins.locked_packages(pins.pin_path("3.4.0b2").read_text())
    assert {"psycopg2-binary", "psycopg", "psycopg-binary", "asyncpg"} <= set(packages)


def test_a_provider_goes_over_the_newest_airflow_that_it_agrees_with(versions: Path) -> None:
    for version in ("3.2.0", "3.3.2", "3.4.0b2"):
        (versions / f"{version}.txt").touch()
    assert pins.newest_for(["apache-airflow>=2.11.0", "kubernetes>=90"]) == "3.3.2"
    assert pins.newest_for(["apache-airflow>=3.0,<3.3"]) == "3.2.0"
    assert pins.newest_for(["apache-airflow>=3.4.0b1"]) == "3.4.0b2"
    with pytest.raises(UserError, match=r"It needs apache-airflow>=3\.9, and the newest"):
        pins.newest_for(["apache-airflow>=3.9"])


def test_what_the_pins_lack_is_found() -> None:
    packages = {"attrs": "25.1.0", "sqlalchemy": "1.4.54"}
    wanted = [
        "attrs>=22",
        "SQLAlchemy[asyncio]>=2.0",
        "absent",
        "absent",
        'colorama; sys_platform == "win32"',
        'other; extra == "ldap"',
        "not a requirement",
    ]
    assert pins.unmet(wanted, packages) == ("SQLAlchemy[asyncio]>=2.0", "absent")


def test_a_release_candidate_may_have_a_task_sdk_that_is_one() -> None:
    assert "apache-airflow-task-sdk>=1.0.0.dev0" in requirements("3.2.0rc1")
    assert "apache-airflow-core==3.2.0rc1" in requirements("3.2.0rc1")
    assert not [text for text in requirements("3.2.0") if "task-sdk" in text]


def test_the_command_that_makes_a_pin_file_can_be_run_again() -> None:
    made = command("3.1.1", datetime(2025, 10, 28, tzinfo=UTC), ("structlog==25.4.0",))
    assert pins.pin_path("3.1.1").read_text().startswith(f"# {made}\n")


@pytest.mark.usefixtures("index")
def test_a_version_that_was_never_published_is_refused() -> None:
    with pytest.raises(UserError) as caught:
        prepare("3.0.99")
    assert caught.value.message == "Airflow 3.0.99 was never published."
    assert "3.0.6" in caught.value.hint
    assert "lab.environments pin" in caught.value.hint


@pytest.mark.usefixtures("index")
def test_what_does_not_start_is_refused_with_how_to_hold_a_package(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO")
    with pytest.raises(UserError) as caught:
        prepare("3.0.1")
    assert "Airflow does not start: ModuleNotFoundError" in caught.value.message
    assert "pin 3.0.1 --constraint NAME==VERSION" in caught.value.hint
    assert store.folders() == []
    assert "The index has no upload times: 3.0.1 gets today's packages." in caplog.text


@pytest.mark.usefixtures("index")
@pytest.mark.parametrize(("version", "asked"), [("3.0.2", True), ("3.0.2.dev0", False)])
def test_an_unpublished_wheel_goes_over_the_nearest_pins_and_brings_what_they_lack(
    tmp_path: Path,
    versions: Path,
    caplog: pytest.LogCaptureFixture,
    version: str,
    asked: bool,
) -> None:
    caplog.set_level("INFO")
    (versions / "3.0.1.txt").write_text("apache-airflow==3.0.1\napache-airflow-core==3.0.1\n")
    needs = ["asyncpg>=3", "apache-airflow>2"]
    with pytest.raises(UserError, match="does not start"):
        prepare(str(write_wheel(tmp_path, "apache-airflow-core", version, needs)))
    assert "Adding what the pins lack: asyncpg>=3." in caplog.text
    assert ("was never published. The wheels go over the packages of 3.0.1" in caplog.text) is asked


@pytest.mark.usefixtures("index")
def test_pins_that_do_not_start_are_not_written(versions: Path) -> None:
    with pytest.raises(UserError, match="does not start") as caught:
        pin("3.0.1")
    assert "--constraint" in caught.value.hint
    assert list(versions.iterdir()) == []


def test_only_a_version_is_pinned(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is not a version"):
        pin(str(write_wheel(tmp_path, "apache-airflow-core", "3.0.6")))


@pytest.mark.usefixtures("index")
def test_a_failed_install_says_the_reason_of_uv(versions: Path) -> None:
    (versions / "3.0.1.txt").write_text("no-such-package==1\n")
    with pytest.raises(InstallError, match="no-such-package was not found") as caught:
        prepare("3.0.1")
    assert "\n" not in caught.value.message
    assert list(store.environments_dir().glob(".build-*")) == []


def test_an_index_that_does_not_answer_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HA_CHAOS_CACHE", str(tmp_path))
    monkeypatch.setenv("UV_HTTP_RETRIES", "0")
    monkeypatch.setenv("UV_NO_CACHE", "1")
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    for variable in ("UV_DEFAULT_INDEX", "UV_INDEX_URL", "UV_INDEX", "UV_NO_INDEX"):
        monkeypatch.delenv(variable, raising=False)
    with pytest.raises(InstallError, match=r"127\.0\.0\.1:9.*Connection refused"):
        prepare("3.0.3")


def test_the_reason_is_the_error_and_its_root_cause() -> None:
    said = "warning: old\nerror: Failed to fetch: it\n  cause: sending\n  cause: refused\n\nhint: x"
    assert uv_reason(said) == "Failed to fetch: it: refused"


def test_the_reason_of_an_unsolvable_request_is_its_explanation() -> None:
    said = "  × No solution found when resolving:\n  ╰─▶ Because a is\n      missing, we stop.\n\n"
    assert uv_reason(said) == "Because a is missing, we stop."
    assert uv_reason("") == "it gave no reason"
