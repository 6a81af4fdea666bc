"""The database URLs of a lab's processes: which driver, and that each session bears a name."""

import sys
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from lab.base import Airflow
from lab.environments.settings import database_urls

WITH_PSYCOPG_3 = Path(sys.executable)
WITHOUT = Path(sys.base_prefix) / "bin" / "python3"


def asynchronous(version: str, python: Path, *pythonpath: Path) -> str:
    airflow = Airflow(version, version, python=python, pythonpath=pythonpath)
    urls = database_urls(airflow, 5432, "secret", "scheduler-1")
    return urls["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN_ASYNC"]


@pytest.mark.parametrize("version", ["3.0.4", "3.3.2"])
def test_asyncpg_is_told_the_name_by_a_setting_of_its_session(version: str) -> None:
    url = urlsplit(asynchronous(version, WITH_PSYCOPG_3))

    assert url.scheme == "postgresql+asyncpg"
    assert (url.hostname, url.port, url.path) == ("127.0.0.1", 5432, "/airflow")
    [inner] = parse_qs(url.query)["dsn"]
    assert parse_qs(urlsplit(inner).query) == {"application_name": ["scheduler-1"]}


@pytest.mark.parametrize("version", ["3.4.0a1", "3.4.0b2", "3.4.0", "4.0.0"])
def test_from_3_4_on_it_is_psycopg_3_where_that_is_installed(version: str) -> None:
    assert asynchronous(version, WITH_PSYCOPG_3).startswith("postgresql+psycopg_async://airflow:")
    assert asynchronous(version, WITHOUT).startswith("postgresql+asyncpg://airflow:")


def test_a_checkouts_own_path_is_looked_at_too(tmp_path: Path) -> None:
    (tmp_path / "psycopg").mkdir()
    (tmp_path / "psycopg" / "__init__.py").touch()

    assert "psycopg_async" in asynchronous("3.4.0.dev0", WITHOUT, tmp_path)
