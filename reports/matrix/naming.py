"""Which question of the matrix a test puts, told from its pytest id.

A test that was skipped, or that broke before there was anything to judge, has left its id alone.
"""

from collections.abc import Collection
from dataclasses import dataclass

from reports.naming import split


@dataclass(frozen=True, order=True)
class Question:
    """A column of the matrix: a gated scenario, or a flood or fault by its test's name in words."""

    gated: bool
    name: str


@dataclass(frozen=True, order=True)
class Asked:
    """One test of a question, whatever the Airflow: a scenario's are its permutations."""

    question: Question
    variant: str

    @property
    def name(self) -> str:
        """Say which one it is: "57618 fan-out"."""
        return f"{self.question.name} {self.variant}".strip()


def asked(test: str, lab: str, airflow: Collection[str], scenarios: Collection[str]) -> Asked:
    """Return what a test asks; `airflow` are the names under which its id may have the Airflow."""
    function, inside = split(test, lab, airflow)
    for scenario in sorted(scenarios, key=len, reverse=True):
        if inside.startswith(f"{scenario}-"):
            return Asked(Question(True, scenario), inside.removeprefix(f"{scenario}-"))
    words = function.removeprefix("test_").replace("_", " ")
    return Asked(Question(False, f"{words} ({inside})" if inside else words), "")
