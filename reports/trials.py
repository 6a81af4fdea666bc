"""What a test is called, told from its pytest id: without its Airflow, lab and repetition.

suites/test_duplicate_tries.py::test_gated[57618-fan-out-embedded-3.0.6-2-5]
    function test_gated, parameters 57618-fan-out; lab and Airflow; repetition 2 of 5
"""

import re
from collections.abc import Collection

_REPETITION = re.compile(r"(^|-)\d+-\d+$")
_STAMP = re.compile(r"^\d{8}-\d{6}-")


def split(test: str, lab: str, airflow: Collection[str]) -> tuple[str, str]:
    """Return a test's function and parameters, the same on every Airflow and lab.

    `airflow` are the names under which its id may have the Airflow. pytest-repeat's count goes too.
    """
    function, _, inside = test.rsplit("::", 1)[-1].partition("[")
    return function, _without_airflow(inside.removesuffix("]"), lab, airflow)


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
