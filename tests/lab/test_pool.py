"""Labs are leased one test at a time, stay warm between tests, and are replaced when they must."""

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import pytest

from common.paths import PROJECT
from lab.environments.preparation import prepare
from lab.pool import Owner, Pool
from lab.spec import LabSpec

pytestmark = pytest.mark.xdist_group("labs-3")
VERSION = "3.0.6"

_RIVAL = """
import json, sys
from pathlib import Path
from lab.environments.preparation import prepare
from common.errors import UserError
from lab.pool import Owner, Pool
from lab.spec import LabSpec
pool = Pool(Path(sys.argv[1]), 1, Owner(int(sys.argv[2]), float(sys.argv[3])))
try:
    with pool.lease(LabSpec(prepare(sys.argv[4])), timeout=float(sys.argv[5])) as lab:
        print(lab.directory)
except UserError as error:
    print(error)
"""


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pool]:
    pool = Pool(tmp_path_factory.mktemp("pool"), 1, Owner.me())
    yield pool
    pool.close()


def rival(pool: Pool, timeout: float) -> str:
    """Let another process of the session lease a lab; return what it got, or why not."""
    owner = asdict(pool.owner)
    arguments = [pool.root, owner["pid"], owner["born"], VERSION, timeout]
    done = subprocess.run(
        [sys.executable, "-c", _RIVAL, *map(str, arguments)],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    return done.stdout.strip()


def test_a_leased_lab_is_nobody_elses_and_stays_warm_for_the_next(pool: Pool) -> None:
    with pool.lease(LabSpec(prepare(VERSION))) as lab:
        lab.api.trigger(lab.api.dag_ids()[0], "left-by-the-first")
        assert "No lab became free" in rival(pool, 0.5)
        first = lab.directory
    assert Path(rival(pool, 10)) == first
    with pool.lease(LabSpec(prepare(VERSION))) as lab:
        assert lab.directory == first
        assert lab.api.runs() == []


def test_a_lab_of_another_spec_replaces_the_warm_one(pool: Pool) -> None:
    with pool.lease(LabSpec(prepare(VERSION))) as lab:
        first = lab.directory
    with pool.lease(LabSpec(prepare(VERSION), schedulers=3)) as lab:
        assert lab.schedulers == ("scheduler-1", "scheduler-2", "scheduler-3")
        assert lab.problems() == []
    assert not first.exists()


def test_a_lab_that_ails_is_not_leased_again(pool: Pool) -> None:
    spec = LabSpec(prepare(VERSION), schedulers=3)
    with pool.lease(spec) as lab:
        first = lab.directory
        lab.kill("kubelet")
    with pool.lease(spec) as lab:
        assert lab.directory != first
        assert lab.problems() == []
