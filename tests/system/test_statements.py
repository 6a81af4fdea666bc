"""A scenario names a statement: on every release the pattern of that name fits its own, alone.

A pattern that fits nothing would make a scenario green that was never provoked; one that fits too
much would hold what nobody meant. What a name means is kept in statements.txt, release by release,
as Airflow itself asked it:

    python -m tests.system.test_statements VERSION     what the names fit there, to be read and kept
"""

import os
import re
import sys

import pytest
from packaging.version import Version

from chaos.holds.points import STATEMENTS, named
from lab.embedded.postgres import Postgres
from lab.environments.pins import pinned
from tests.labs import ALL
from tests.system.asked import Asked, fitting, golden, statements_of

pytest_plugins = ["tests.lab.miniature_fixtures"]
pytestmark = pytest.mark.xdist_group("labs-2")

VALUES = {"asset": "a", "consumer": "consumer", "dag": "serial"}


def patterns(version: str) -> dict[str, str]:
    """Return the patterns of a release by name, with values that the flood has."""
    return {
        name: named(name, {word: VALUES[word] for word in statement.values}, version).statement
        for name, statement in STATEMENTS.items()
        if statement.pattern(version) is not None
    }


def versions() -> list[str]:
    """Return the newest final release that is pinned, or all that are."""
    every = pinned()
    final = [version for version in every if not Version(version).is_prerelease]
    return every if os.environ.get(ALL) else [max(final, key=Version)]


@pytest.mark.parametrize("version", versions())
def test_each_name_fits_its_own_statement_and_no_other(postgres: Postgres, version: str) -> None:
    seen = statements_of(version)
    wanted = {name: {golden()[name, version]} for name in patterns(version)}
    assert fitting(patterns(version), seen, postgres.dsn()) == wanted
    named = {shape for shapes in wanted.values() for shape in shapes}
    assert {each.who for each in seen if each.shape in named} >= {
        *("scheduler-1", "scheduler-2", "triggerer-1", "api-server"),
    }


def test_every_pinned_release_has_each_of_the_named_statements() -> None:
    assert set(golden()) == {(name, version) for version in pinned() for name in patterns(version)}


def test_a_name_that_is_met_nowhere_is_seen(postgres: Postgres) -> None:
    seen = [Asked("scheduler-1", "SELECT dag_run.id FROM dag_run WHERE dag_run.state = 'running'")]
    none = {name: set[str]() for name in patterns("3.3.2")}
    assert fitting(patterns("3.3.2"), seen, postgres.dsn()) == none


if __name__ == "__main__":
    asked = statements_of(sys.argv[1])
    for name, pattern in patterns(sys.argv[1]).items():
        like = re.compile(".*".join(map(re.escape, pattern.split("%"))), re.DOTALL)
        for shape in sorted({each.shape for each in asked if like.fullmatch(each.text)}):
            print(f"== {name} {sys.argv[1]}\n{shape}")
