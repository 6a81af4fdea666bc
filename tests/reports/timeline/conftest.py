import gzip
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from benchmarks.timeline import multiply
from reports.timeline import draw
from tests.reports.timeline.browser import Opened, chromium, opened, started

HISTORIES = Path(__file__).parent / "histories"


@pytest.fixture(scope="session")
def race(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A test's folder with a real history of Airflow 3.0.6 that has the race of issue 57618."""
    return _unpacked("race", tmp_path_factory.mktemp("race"))


@pytest.fixture(scope="session")
def flood(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A test's folder with a real flood of Airflow 3.3.2 in which nothing went wrong."""
    return _unpacked("flood", tmp_path_factory.mktemp("flood"))


@pytest.fixture(scope="session")
def multitude(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A test's folder with ten thousand task instances, drawn already."""
    folder = tmp_path_factory.mktemp("multitude")
    multiply(folder / "history.ndjson", 10_000)
    draw(folder)
    return folder


@pytest.fixture
def own(tmp_path: Path, race: Path) -> Path:
    """A copy of the race's folder that a test may spoil."""
    shutil.copy(race / "history.ndjson", tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A headless Chromium for one module, for asyncio cannot run beside it."""
    if chromium() is None:
        pytest.skip("no Chromium: install one, or name it in HA_CHAOS_CHROMIUM")
    with started() as running:
        yield running


@pytest.fixture(scope="module")
def browsed(browser: Browser, race: Path) -> Iterator[Opened]:
    """The race's page, open in a browser."""
    with opened(browser, draw(race)[0]) as page:
        yield page


def _unpacked(name: str, folder: Path) -> Path:
    data = gzip.decompress((HISTORIES / f"{name}.ndjson.gz").read_bytes())
    (folder / "history.ndjson").write_bytes(data)
    return folder
