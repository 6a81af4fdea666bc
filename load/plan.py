"""What a flood asks for, and the order in which it asks: decided by the seed alone."""

import random
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import msgspec

WORKING_USERS = 2
"""The Locust users that are no UI users: the one that triggers and the one that watches."""


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """A flood as it was asked for: `rate` in runs a second, `users` people at the UI."""

    dag_ids: tuple[str, ...]
    runs: int
    rate: float
    users: int
    seed: int
    run_prefix: str


class Order(NamedTuple):
    """One run to be triggered, the n-th of its flood."""

    n: int
    dag_id: str
    run_id: str


def orders(asked: Asked) -> Iterator[Order]:
    """Yield the flood's runs in rounds: each DAG once a round, every round shuffled anew.

    Rounds keep DAGs that allow a single active run equally busy, which drawing would not.
    """
    dice = random.Random(f"runs {asked.seed}")
    waiting: list[str] = []
    for n in range(asked.runs):
        waiting = waiting or dice.sample(asked.dag_ids, len(asked.dag_ids))
        yield Order(n, waiting.pop(), f"{asked.run_prefix}-{asked.seed}-{n}")


class Visit(NamedTuple):
    """A UI user's stay on one page about one DAG, for so many refreshes."""

    page: str
    dag_id: str
    refreshes: int


def visits(asked: Asked, user: int, pages: Sequence[str]) -> Iterator[Visit]:
    """Yield without end what the UI user of that number looks at: each page once a round."""
    dice = random.Random(f"ui {asked.seed} {user}")
    while True:
        for page in dice.sample(pages, len(pages)):
            yield Visit(page, dice.choice(asked.dag_ids), dice.randint(1, 4))
