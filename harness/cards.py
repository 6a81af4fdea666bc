"""What is known of a test before it runs: what reports call it, whether it ends or not.

The process that collects writes the cards down: under pytest-xdist only workers collect, and the
controller must be able to tell of a test that died with its worker.
"""

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from allure_commons.utils import md5
from allure_pytest.utils import allure_full_name, allure_labels, allure_title_path

from harness.markers import declared_faults, known_race
from harness.outcome import Known, link
from harness.session import Session
from reports.records import environment
from run.folder import write_json

OWNER = "area:Scheduler"
"""Whom a finding goes to: the label of Airflow's own issues."""

_REPETITION = "__pytest_repeat_step_number"

Pairs = list[tuple[str, str]]


class Card(msgspec.Struct, frozen=True, kw_only=True):
    """One collected test; `airflow` is what --airflow said, empty for a test without a lab.

    The other fields are Allure's, of the same names.
    """

    test: str
    airflow: str
    name: str
    full_name: str
    title_path: list[str]
    description: str
    parameters: Pairs
    labels: Pairs
    issue: tuple[str, str] | None = None

    @property
    def history_id(self) -> str:
        """Return what is the same in every session of the same environment, and in no other."""
        return str(md5(self.full_name, *(f"{name}={value}" for name, value in self.parameters)))


def card(item: pytest.Item, session: Session) -> Card:
    """Describe a collected test."""
    params = dict(getattr(getattr(item, "callspec", None), "params", {}))
    airflow = str(params.pop("lab", ""))
    options = session.options
    where = [
        ("airflow", session.label(airflow or options.airflow[0])),
        ("lab", options.lab),
        ("schedulers", str(options.schedulers)),
    ]
    own = [("repetition" if n == _REPETITION else n, str(value)) for n, value in params.items()]
    known = known_race(item)
    return Card(
        test=item.nodeid,
        airflow=airflow,
        name=item.name,
        full_name=allure_full_name(item),
        title_path=list(allure_title_path(item)),
        description=_doc(getattr(item, "function", None)),
        parameters=sorted([*own, *where]),
        labels=[*_labels(item, known, where)],
        issue=link(known.scenario.issue) if known else None,
    )


def _labels(item: pytest.Item, known: Known | None, where: Pairs) -> Iterator[tuple[str, str]]:
    """Give a test's labels; what it says itself, by a marker of Allure's, goes before."""
    told = [(str(name), str(value)) for name, value in sorted(allure_labels(item), key=str)]
    yield from told
    place = environment(where[0][1], where[1][1], int(where[2][1]))
    path = Path(item.nodeid.split("::")[0])
    module = _doc(getattr(item, "module", None))
    defaults = {
        "epic": "Several schedulers",
        "feature": module or path.stem,
        "story": known.scenario.title if known else _doc(getattr(item, "function", None)),
        "parentSuite": place,
        "suite": path.stem.removeprefix("test_").replace("_", " "),
        "severity": "critical" if item.get_closest_marker("scenario") else "normal",
        "owner": OWNER,
        "package": ".".join(path.with_suffix("").parts),
    }
    said = {name for name, _ in told}
    yield from ((name, value) for name, value in defaults.items() if name not in said and value)
    yield from where
    yield "environment", place
    yield from (("tag", tag) for tag in _tags(item))


def _tags(item: pytest.Item) -> Iterator[str]:
    for name in ("scenario", "issue", "flood", "needs"):
        if marker := item.get_closest_marker(name):
            yield from (f"{name}: {value}" for value in marker.args)
    yield from (f"fault: {fault.name}" for fault in declared_faults(item))


def _doc(thing: object) -> str:
    """Return the first paragraph of a docstring as one line."""
    text = (getattr(thing, "__doc__", None) or "").strip()
    return " ".join(text.split("\n\n")[0].split())


def keep(session: Session, process: str, items: list[pytest.Item]) -> None:
    """Write down what a worker collected, for its controller."""
    root = session.pool().root
    write_json(root / f"cards-{process}.json", msgspec.to_builtins([*cards(session, items)]))


def kept(session: Session, process: str) -> list[Card]:
    """Read what a worker collected."""
    return msgspec.json.decode(
        (session.pool().root / f"cards-{process}.json").read_bytes(), type=list[Card]
    )


def cards(session: Session, items: list[pytest.Item]) -> Iterator[Card]:
    """Describe all collected tests."""
    return (card(item, session) for item in items)
