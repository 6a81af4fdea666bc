"""Which question of the matrix a test puts, told from its pytest id.

    suites/test_duplicate_tries.py::test_gated[57618-fan-out-embedded-3.0.6-2-5]
        function test_gated; scenario 57618, permutation fan-out; lab and Airflow; repetition 2 of 5

A test that was skipped, or that broke before there was anything to judge, has left its id alone.
"""

import re
from collections.abc import Collection
from dataclasses import dataclass

_REPETITION = re.compile(r"(^|-)\d+-\d+$")
_STAMP = re.compile(r"^\d{8}-\d{6}-")


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
    function, _, inside = test.rsplit("::", 1)[-1].partition("[")
    inside = _without_airflow(inside.removesuffix("]"), lab, airflow)
    for scenario in sorted(scenarios, key=len, reverse=True):
        if inside.startswith(f"{scenario}-"):
            return Asked(Question(True, scenario), inside.removeprefix(f"{scenario}-"))
    words = function.removeprefix("test_").replace("_", " ")
    return Asked(Question(False, f"{words} ({inside})" if inside else words), "")


def _without_airflow(inside: str, lab: str, airflow: Collection[str]) -> str:
    """Take lab, Airflow and repetition out of an id's brackets."""
    names = sorted(airflow, key=len, reverse=True)
    for name in [*map(re.escape, names), r"[^-]+"]:
        found = re.search(rf"(?:^|(?<=-)){re.escape(lab)}-{name}(?=-|$)", inside)
        if found:
            left = f"{inside[: found.start()]}{inside[found.end() :].removeprefix('-')}"
            break
    else:
        left = inside
    return _REPETITION.sub("", left).strip("-")


def folder_airflow(folder: str) -> str:
    """Return the Airflow that a run folder is named after: `<date>-<time>-<airflow>`."""
    return _STAMP.sub("", folder)
