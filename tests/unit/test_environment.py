"""Of the caller's environment a lab gets nothing, and what works for the user what is his."""

import os
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest

from common.environment import LOCALE, bare, forget_libpq, inherited
from common.paths import PROJECT
from lab.environments import uvtool
from tests import poisoned

USERS = {
    "DOCKER_HOST": "unix:///run/user/1000/docker.sock",
    "HA_CHAOS_SHAPES": "single",
    "HTTPS_PROXY": "http://proxy:3128",
    "KUBECONFIG": "/home/me/.kube/config",
    "PIP_INDEX_URL": "https://mine/simple",
    "PYTHON_KEYRING_BACKEND": "keyring.backends.null.Keyring",
    "UV_DEFAULT_INDEX": "https://mine/simple",
    "UV_INDEX_MINE_PASSWORD": "secret",
}


@pytest.fixture
def theirs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have a poisoned shell around, and what its user means in it."""
    for name, value in poisoned.shell(tmp_path / "home").items():
        monkeypatch.setenv(name, value)
    for name, value in USERS.items():
        monkeypatch.setenv(name, value)


@pytest.mark.usefixtures("theirs")
def test_what_is_under_test_gets_nothing_of_the_callers(tmp_path: Path) -> None:
    places = {"PATH", "LD_LIBRARY_PATH", "SSL_CERT_FILE", "SSL_CERT_DIR", "TMPDIR"}
    kept = bare(tmp_path)
    ours = {name: value for name, value in kept.items() if name not in places}
    loopback = "127.0.0.1,localhost"
    assert ours == {
        "HOME": str(tmp_path), "LC_ALL": LOCALE, "NO_PROXY": loopback, "no_proxy": loopback
    }  # fmt: skip
    assert kept["PATH"] == os.environ["PATH"]


@pytest.mark.usefixtures("theirs")
def test_what_works_for_the_user_keeps_what_is_not_meant_for_another_program() -> None:
    kept = inherited()
    ours = {**USERS, "PYTHONUTF8": "1"}
    assert kept.items() >= ours.items()
    others = {each for each in poisoned.OTHERS if "AIRFLOW" in each or "LOCUST" in each}
    others |= {*poisoned.PYTHON, "PYTHONPATH", "NODE_OPTIONS"}
    assert not others & kept.keys()
    assert kept.keys() >= {"HTTP_PROXY", "TZ", "XDG_CONFIG_HOME", "PIP_USER"}


def test_libpq_is_led_by_no_variable_that_is_called_otherwise() -> None:
    """The rule is how they begin: this libpq's own list has none that begins otherwise."""
    assert len(poisoned.LIBPQ) > 35
    assert all(name.startswith("PG") for name in poisoned.LIBPQ)


@pytest.mark.usefixtures("theirs")
def test_a_labs_own_connections_forget_all_of_libpqs() -> None:
    forget_libpq(credentials=False)
    assert not [name for name in os.environ if name.startswith("PG")]
    with pytest.raises(psycopg.OperationalError, match="port 1 "):
        psycopg.connect("host=127.0.0.1 port=1 user=a dbname=b")


@pytest.mark.usefixtures("theirs")
def test_a_users_own_database_is_logged_in_to_as_he_means() -> None:
    """How to log in and whom to believe stays; which database it is, and its settings, do not."""
    forget_libpq(credentials=True)
    kept = {name for name in os.environ if name.startswith("PG")}
    assert kept >= {"PGPASSWORD", "PGPASSFILE", "PGSSLMODE", "PGSSLROOTCERT", "PGSSLCERT"}
    assert kept >= {"PGCHANNELBINDING", "PGREQUIREAUTH", "PGGSSENCMODE", "PGKRBSRVNAME"}
    elsewhere = {"PGHOST", "PGHOSTADDR", "PGPORT", "PGUSER", "PGDATABASE", "PGSERVICE"}
    session = {"PGOPTIONS", "PGAPPNAME", "PGTZ", "PGCLIENTENCODING", "PGTARGETSESSIONATTRS"}
    assert not kept & (elsewhere | session | {"PGSERVICEFILE", "PGCONNECT_TIMEOUT"})


@pytest.mark.usefixtures("theirs")
def test_uv_gets_the_users_index_and_nothing_that_changes_what_is_installed() -> None:
    kept = {name for name in uvtool._uv_environ() if name.startswith("UV_")}
    assert kept == {"UV_DEFAULT_INDEX", "UV_INDEX_MINE_PASSWORD"}


@pytest.mark.usefixtures("theirs")
def test_a_module_of_ours_starts_beside_modules_of_the_same_name() -> None:
    done = subprocess.run(
        [sys.executable, "-c", "import common.paths, sys; print(sys.flags.utf8_mode)"],
        cwd=PROJECT,
        env=inherited(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "1\n"), done.stderr
