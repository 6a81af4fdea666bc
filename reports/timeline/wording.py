"""The words at the head of a page: what ran where, what came of it, and what to be wary of."""

import re
from collections.abc import Iterator

from common.redaction import redact
from oracle import witness
from oracle.verdict import Judgement
from reports.records import environment
from reports.timeline.collection import Collection
from reports.timeline.survey import Survey

VERDICTS = {
    "valid": "Every promise was kept.",
    "invalid": "A promise was broken.",
    "unknown": "This run proves nothing.",
}


def headline(survey: Survey) -> str:
    """Name the run and its verdict."""
    return redact(f"{survey.source.header.run}: {survey.verdict}")


def sentences(survey: Survey) -> list[str]:
    """Say in prose what ran, what it proves and how much there was of everything."""
    return [redact(sentence) for sentence in _sentences(survey)]


def _sentences(survey: Survey) -> Iterator[str]:
    header, counts = survey.source.header, survey.judgement.counts
    where = environment(header.airflow, header.lab, len(header.schedulers))
    yield f"{where}, seed {header.seed}. {VERDICTS.get(survey.verdict, '')}".strip()
    yield (
        f"{_many(counts.task_instances, 'task instance')} in {_many(counts.runs, 'DAG run')}, "
        f"{_many(counts.pods, 'pod')}, {_many(counts.refused_starts, 'refused start')}, "
        f"{survey.end:.1f} s."
    )
    broken = {name: number for name, number in survey.judgement.by_invariant.items() if number}
    if broken:
        told = ", ".join(f"{name} {number} times" for name, number in broken.items())
        yield f"Broken: {told.replace(' 1 times', ' once')}."
    record = survey.source.record
    if record and record.known:
        yield f"The test is about {record.known.scenario}: {record.known.title}."
    if survey.verdict == "unknown":
        yield from (f"{reason}." for reason in (record or survey.judgement).reasons[:3])


def banners(survey: Survey, collection: Collection) -> list[str]:
    """Say what the page does not show."""
    found = []
    if survey.source.broken:
        found.append(f"The history breaks off: {survey.source.broken}.")
    if collection.left_out:
        found.append(
            f"{_many(collection.left_out, 'task instance')} without a violation are only in the "
            "summary; there are too many for one page."
        )
    if survey.violations > len(survey.marks):
        found.append(f"{survey.violations - len(survey.marks)} more violations are only counted.")
    if collection.disturbances.left_out:
        found.append(f"{collection.disturbances.left_out} more faults and gates are not drawn.")
    return [redact(banner) for banner in found]


def told(judgement: Judgement) -> list[list[str]]:
    """Return the witness line by line; a line of its timeline in three: when, who, what."""
    lines = redact(witness.text(judgement)).splitlines()
    return [re.split(r"\s{2,}", line.strip(), maxsplit=2) for line in lines]


def _many(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
