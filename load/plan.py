"""What a flood asks for, and the order in which it asks: decided by the seed alone."""

import itertools
import random
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import msgspec


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """A flood as it was asked for: `rate` in runs a second, `users` people who look at the UI.

    The same seed asks for the same DAGs and pages in the same order.
    `workers` are the Locust processes that share it, 0 where one process does it all: who does
    the work changes nothing about what is asked for.
    """

    dag_ids: tuple[str, ...]
    runs: int
    rate: float
    users: int = 2
    seed: int
    run_prefix: str = "flood"
    workers: int = 0

    @property
    def operators(self) -> int:
        """How many Locust users are no UI users: one that triggers and watches, a process."""
        return max(1, self.workers)


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


def share(asked: Asked, index: int) -> Iterator[Order]:
    """Yield those of the flood's runs that the operator of that index, from 0, is to trigger."""
    return itertools.islice(orders(asked), index, None, asked.operators)


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
