"""Tells which events are alike, so that it is found out once, and not at each, who heeds them.

A history makes the same few moves again and again. Of those that are alike an invariant either
wants all or none (`Invariant.heeds_ti`, `heeds_pod`), whatever came before.
"""

from collections.abc import Callable, Hashable
from typing import Any

from oracle.events import PodEvent, TaskInstanceEvent


def _change(event: TaskInstanceEvent) -> Hashable:
    """Changes are alike by whose they are, and by states, tries and owner before and after."""
    old, new = event.old, event.new
    if old is None or new is None:
        row = new or old
        return (event.process, old is None, row and row.state)
    return (
        event.process,
        old.state,
        new.state,
        old.try_number,
        new.try_number,
        old.id == new.id,
        old.queued_by_job_id == new.queued_by_job_id,
        new.queued_by_job_id is None,
    )


def _pod(event: PodEvent) -> Hashable:
    """Pods are alike by what became of them; whose they are is none of it."""
    return (event.op, event.phase, event.deleting, event.exit_code, event.owner is None)


ALIKE: dict[type, Callable[[Any], Hashable]] = {TaskInstanceEvent: _change, PodEvent: _pod}
"""By the kind of an event, what is the same for those that are alike; of another kind all are."""
