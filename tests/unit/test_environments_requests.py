import errno
import subprocess
import sys
from pathlib import Path

import pytest

from common.errors import UserError
from lab.environments import preparation, store
from lab.environments.__main__ import main
from lab.environments.pins import newest, pinned
from lab.environments.preparation import foresee, prepare
from lab.environments.request import describe
from tests.unit.environments_fakes import write_checkout, write_installed, write_wheel


def refused(spec: str | Path) -> UserError:
    with pytest.raises(UserError) as caught:
        describe(str(spec))
    assert "\n" not in caught.value.message
    assert caught.value.hint
    return caught.value


@pytest.fixture
def venv(tmp_path: Path) -> Path:
    folder = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    return folder


def site_packages(venv: Path) -> Path:
    return next(venv.glob("lib/python*/site-packages"))


def test_a_pinned_version_is_known() -> None:
    request = describe(" 3.0.6 ")
    assert (request.kind, request.label, request.version) == ("version", "3.0.6", "3.0.6")
    assert request.path.is_file()


def test_a_version_without_a_pin_file_is_a_version_all_the_same() -> None:
    request = describe("3.1.5")
    assert request.kind == "version"
    assert not request.path.exists()


def test_a_misspelled_version_is_refused_with_the_nearest_pinned() -> None:
    error = refused("3.O.6")
    assert "Did you mean 3.0.6?" in error.hint
    assert "lab.environments pin" in error.hint


@pytest.mark.parametrize("version", ["2.10.5", "1.10", "3.0.0rc1"])
def test_a_version_before_3_is_said_to_be_unsupported(version: str) -> None:
    error = refused(version)
    assert error.message.startswith(f"not supported: Airflow {version} ")
    assert newest() in error.hint


@pytest.mark.parametrize("spec", [f"/tmp/{'a' * 300}/x", "~nobody-here/x"])
def test_a_path_that_cannot_be_looked_at_is_told(spec: str) -> None:
    assert refused(spec).message.startswith(("There is no", f"{spec} cannot be read: "))


def test_a_checkout_that_cannot_be_read_is_told_as_that(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Root can read everything, so the system's answer is another's here."""
    write_checkout(tmp_path, "3.0.6")

    def denied(path: Path, *_: object) -> str:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(Path, "read_text", denied)
    assert refused(tmp_path).message.endswith(
        "airflow/__init__.py cannot be read: Permission denied."
    )


@pytest.mark.parametrize("spec", ["", "./gone.whl", "/no/such/place", "gone.whl"])
def test_a_path_that_does_not_exist_is_refused(spec: str) -> None:
    assert refused(spec).message == f"There is no {spec!r}."


def test_the_core_wheel_is_accepted(tmp_path: Path) -> None:
    wheel = write_wheel(tmp_path, "apache-airflow-core", "3.0.6")
    request = describe(str(wheel))
    assert (request.kind, request.version, request.path) == ("wheel", "3.0.6", wheel)


def test_a_wheel_of_another_package_is_refused(tmp_path: Path) -> None:
    error = refused(write_wheel(tmp_path, "requests", "2.32.0"))
    assert "requests 2.32.0, which is not Airflow's wheel, nor a provider's" in error.message


def test_the_task_sdk_alone_is_refused_and_the_hint_names_the_core(tmp_path: Path) -> None:
    error = refused(write_wheel(tmp_path, "apache-airflow-task-sdk", "1.0.6"))
    assert "apache_airflow_core" in error.hint


def test_a_providers_wheel_alone_goes_over_the_newest_pinned_airflow(tmp_path: Path) -> None:
    name = "apache-airflow-providers-cncf-kubernetes"
    wheel = write_wheel(tmp_path, name, "10.99.0rc1", ["apache-airflow>=2.11.0"])
    for spec in (wheel, tmp_path):
        request = describe(str(spec))
        assert (request.kind, request.version) == ("wheel", newest())


def test_a_provider_that_no_pinned_airflow_suits_is_refused(tmp_path: Path) -> None:
    name = "apache-airflow-providers-cncf-kubernetes"
    error = refused(write_wheel(tmp_path, name, "99.0.0", ["apache-airflow>=99"]))
    assert "It needs apache-airflow>=99" in error.message
    assert "lab.environments pin" in error.hint


def test_a_provider_that_no_lab_runs_is_refused(tmp_path: Path) -> None:
    wheel = write_wheel(tmp_path, "apache-airflow-providers-google", "20.0.0")
    with pytest.raises(UserError, match="has only apache-airflow-providers-google, which no lab"):
        prepare(str(wheel))


def test_an_old_wheel_is_said_to_be_unsupported(tmp_path: Path) -> None:
    error = refused(write_wheel(tmp_path, "apache-airflow", "2.10.5"))
    assert error.message.startswith("not supported: apache_airflow-2.10.5")


def test_a_wheel_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    (tmp_path / "apache_airflow-3.0.6-py3-none-any.whl").write_bytes(b"PK\x03\x04 cut off")
    assert "not a readable wheel" in refused(next(tmp_path.iterdir())).message


def test_a_wheel_without_a_version_that_is_one_is_refused(tmp_path: Path) -> None:
    error = refused(write_wheel(tmp_path, "apache-airflow-core", "three"))
    assert "states 'three', which is not a valid version" in error.message


def test_a_folder_of_wheels_has_the_version_of_its_core(tmp_path: Path) -> None:
    write_wheel(tmp_path, "apache-airflow-core", "3.2.0")
    write_wheel(tmp_path, "apache-airflow-task-sdk", "1.2.0")
    request = describe(str(tmp_path))
    assert (request.kind, request.version) == ("wheel", "3.2.0")


def test_a_folder_with_two_cores_is_refused(tmp_path: Path) -> None:
    write_wheel(tmp_path, "apache-airflow-core", "3.2.0")
    write_wheel(tmp_path, "apache-airflow-core", "3.2.1")
    assert "one wheel of each package" in refused(tmp_path).hint


def test_a_folder_of_other_wheels_is_refused(tmp_path: Path) -> None:
    write_wheel(tmp_path, "apache-airflow-task-sdk", "1.2.0")
    assert "no wheel of Airflow" in refused(tmp_path).message


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    assert "airflow-core/src" in refused(tmp_path).hint


def test_a_checkout_has_the_version_that_its_sources_state(tmp_path: Path) -> None:
    request = describe(str(write_checkout(tmp_path, "3.1.8")))
    assert (request.kind, request.version, request.path) == ("checkout", "3.1.8", tmp_path)


def test_a_checkout_that_states_no_version_is_refused(tmp_path: Path) -> None:
    (write_checkout(tmp_path, "3.1.8") / "airflow-core/src/airflow/__init__.py").write_text("")
    assert "does not state its version" in refused(tmp_path).message


def test_a_checkout_of_airflow_2_is_said_to_be_unsupported(tmp_path: Path) -> None:
    (tmp_path / "airflow").mkdir()
    (tmp_path / "airflow/__init__.py").touch()
    assert refused(tmp_path).message.startswith("not supported: The checkout")


def test_a_checkout_without_a_pyproject_is_refused(tmp_path: Path) -> None:
    (write_checkout(tmp_path, "3.0.6") / "task-sdk/pyproject.toml").unlink()
    with pytest.raises(UserError, match=r"task-sdk/pyproject.toml does not say what it needs"):
        prepare(str(tmp_path))


def test_what_an_index_alone_knows_is_left_open_and_what_was_resolved_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No index is asked, and a wheel's own pins are not either."""
    monkeypatch.setenv("HA_CHAOS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(preparation, "resolve", None)
    monkeypatch.setattr(preparation, "day_after_release", None)
    assert foresee("3.0.6") == ""
    assert foresee("9.9.9").startswith("Airflow 9.9.9 is not pinned: only a run asks")
    (store.environments_dir() / ".9.9.9.txt").write_text("apache-airflow==9.9.9\n")
    assert foresee("9.9.9") == ""
    assert foresee(str(write_wheel(tmp_path, "apache-airflow-core", "3.0.7"))) == ""


def test_a_python_without_airflow_is_refused_with_what_to_install(venv: Path) -> None:
    error = refused(venv / "bin/python")
    assert "has no Airflow installed" in error.message
    assert "-m pip install apache-airflow " in error.hint


def test_an_airflow_that_only_its_user_has_is_none_for_the_lab(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = Path(sys.executable).resolve()
    user = tmp_path / "user"
    packages = user / f"lib/python{sys.version_info.major}.{sys.version_info.minor}/site-packages"
    packages.mkdir(parents=True)
    write_installed(packages, "apache-airflow-core", "3.3.2")
    monkeypatch.setenv("PYTHONUSERBASE", str(user))
    seen = "from importlib.metadata import version; print(version('apache-airflow-core'))"
    assert subprocess.check_output([base, "-c", seen], text=True).strip() == "3.3.2"
    error = refused(base)
    assert "has no Airflow installed" in error.message
    assert "your own site-packages" in error.hint


def test_a_python_with_an_old_airflow_is_said_to_be_unsupported(venv: Path) -> None:
    write_installed(site_packages(venv), "apache-airflow", "2.11.0")
    assert refused(venv).message.startswith("not supported: Airflow 2.11.0 of")


def test_a_python_that_lacks_a_provider_and_a_driver_is_told_both(venv: Path) -> None:
    for name in ("apache-airflow-core", "apache-airflow-providers-standard", "psycopg2"):
        write_installed(site_packages(venv), name, "3.0.6")
    error = refused(venv / "bin/python")
    assert error.hint.endswith("-m pip install apache-airflow-providers-cncf-kubernetes asyncpg")


def test_a_python_that_has_all_is_accepted_by_its_folder_too(venv: Path) -> None:
    for name in ("apache-airflow-core", "apache-airflow-providers-standard", "asyncpg"):
        write_installed(site_packages(venv), name, "3.0.6")
    for name in ("apache-airflow-providers-cncf-kubernetes", "psycopg2-binary"):
        write_installed(site_packages(venv), name, "3.0.6")
    request = describe(str(venv))
    assert (request.kind, request.version) == ("python", "3.0.6")
    assert request == describe(str(venv / "bin/python"))


def test_a_file_that_is_no_python_is_refused(tmp_path: Path) -> None:
    impostor = tmp_path / "python3"
    impostor.write_text("#!/bin/sh\necho I am a shell\n")
    assert "neither a wheel nor a Python" in refused(impostor).message
    impostor.chmod(0o755)
    assert "is not a Python that runs" in refused(impostor).message


def test_the_command_line_says_one_line_with_a_hint_and_exits_2(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["prepare", "2.10.5"]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("error: not supported: Airflow 2.10.5 is older than 3.0")
    assert "Give 3.0.0 or later" in lines[0]


def test_the_command_line_lists_what_is_pinned_and_what_is_cached(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HA_CHAOS_CACHE", str(tmp_path))
    folder = store.made("3.0.6-abc", lambda folder: folder.joinpath("inner").mkdir())
    (folder / "inner/file").write_bytes(bytes(7_000_000))
    assert main(["list"]) == 0
    told = capsys.readouterr().out
    assert "pinned: " + " ".join(pinned()) in told
    assert "7 MB  3.0.6-abc" in told
