"""Turns rows of attempts into the changes of task instances that the promises speak of.

Since Airflow 3.4 a row of `task_instance` is one attempt (`Header.attempts`). A retry, a clear or
an orphan's reset archives the row and inserts its successor, with a new id and the next try, in one
transaction (`TaskInstance.prepare_db_for_next_try`):

    update  id a  RUNNING -> UP_FOR_RETRY, try 1
    update  id a  UP_FOR_RETRY -> FAILED, archived        one change of one task instance:
    insert  id b  UP_FOR_RETRY, try 2                     a RUNNING, try 1 -> b UP_FOR_RETRY, try 2

Whoever follows a task instance wants that one change. It is reported when the transaction is over,
and a history has no mark for that: so the rows of a transaction wait for the next event of another.
What it did to runs in between is reported after them.

An archived row is history: that its state moved is an event of its own (`ArchivedEvent`), what else
is written to it (who ran it, when it ended) is nobody's concern. A task's mapped instances are born
as one row that is renamed (`expand_mapped_task`): it ends under the old name and goes on under the
new one. A history of older Airflows goes through untouched.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby

from msgspec import structs

from oracle.events import (
    AnswerEvent,
    ArchivedEvent,
    DagRunEvent,
    Event,
    Header,
    Row,
    TaskInstanceEvent,
    TaskInstanceKey,
)
from oracle.states import FINISHED

SUPERSEDED = "superseded"
"""Why a row is archived that has no successor: what comes under its name is other work."""


class Attempts:
    """Follows which row is the current attempt of each task instance.

    `ambiguous` are the names that several task instances bear at once: the passes of nested loops
    (`DynamicRegion`, since 3.4) differ in a region that neither a pod nor a worker tells, so their
    events say nothing and are left out; what was begun under such a name is reported as gone.
    `rotates` tells whether a row is an attempt at all; if not, all goes through untouched.

    Only a row that has not ended is renamed (`expand_mapped_task`). So of one that has ended only
    two hashes are kept, of its name and its region: another can bear the name long after that, in
    the next pass of a loop.
    """

    def __init__(self, header: Header) -> None:
        self.ambiguous: set[TaskInstanceKey] = set()
        self._newly_ambiguous: set[TaskInstanceKey] = set()
        self.rotates = header.attempts == "row-per-attempt"
        self._waiting: list[TaskInstanceEvent] = []
        self._runs: list[DagRunEvent] = []
        self._names: dict[str, TaskInstanceKey] = {}
        self._current: dict[TaskInstanceKey, tuple[str, str]] = {}
        self._ended: dict[int, int] = {}

    def feed(self, event: Event) -> Iterable[Event]:
        """Take the next event; give those that are ready now, in order."""
        if not self.rotates:
            return (event,)
        waiting = self._waiting
        if type(event) is TaskInstanceEvent and (not waiting or waiting[-1].xid == event.xid):
            waiting.append(event)
            return ()
        if type(event) is DagRunEvent and waiting and waiting[-1].xid == event.xid:
            self._runs.append(event)
            return ()
        ready = self._transaction()
        if type(event) is TaskInstanceEvent:
            self._waiting.append(event)
        else:
            event = _without_region(event)
            if not self._is_ambiguous(event):
                ready.append(event)
        return ready

    def finish(self) -> Iterable[Event]:
        """Give what still waits at the end of a history that has none."""
        return self._transaction()

    def over(self, events: Iterable[Event]) -> Iterator[Event]:
        """Give a whole history's events as task instances' changes."""
        for event in events:
            yield from self.feed(event)
        yield from self.finish()

    def _is_ambiguous(self, event: Event) -> bool:
        return bool(self.ambiguous) and getattr(event, "ti", None) in self.ambiguous

    def _transaction(self) -> list[Event]:
        """Tell what one transaction did, a task instance at a time, and then its runs."""
        rows, self._waiting = self._waiting, []
        runs, self._runs = self._runs, []
        if len(rows) == 1 and self._goes_on(rows[0]):
            return [*rows, *runs]
        ready: list[Event] = []
        rows.sort(key=_name)
        for _, group in groupby(rows, key=_name):
            ready += self._changes(list(group))
        return [*ready, *runs]

    def _goes_on(self, event: TaskInstanceEvent) -> bool:
        """Tell whether an attempt, the only one of its name, goes on under it; most changes do."""
        old, new, ti = event.old, event.new, event.ti
        if old is None or new is None or old.archived or new.archived or ti.region:
            return False
        if ti in self.ambiguous or self._current.get(ti) != (new.id, ""):
            return False
        if new.state in FINISHED:
            self._end(ti, new.id, "")
        return True

    def _changes(self, rows: Sequence[TaskInstanceEvent]) -> Iterator[Event]:
        """Tell what a transaction did to the rows of one name."""
        history = [row for row in rows if row.old and row.old.archived]
        current = [row for row in rows if not (row.old and row.old.archived)]
        named = [each for row in current for each in self._named(row)]
        if newly := [each for each in named if each.ti in self._newly_ambiguous]:
            self._newly_ambiguous.clear()
            yield structs.replace(newly[0], op="delete", old=newly[0].new, new=None)
        changes: list[TaskInstanceEvent | ArchivedEvent] = [*_net(named), *_moved(history)]
        for each in changes:
            if each.ti not in self.ambiguous:
                yield each

    def _named(self, event: TaskInstanceEvent) -> Iterator[TaskInstanceEvent]:
        """Give a row's change under the task instance's name, which has no region."""
        row = event.new or event.old
        assert row is not None
        region, ti = event.ti.region, event.ti
        if region:
            ti = structs.replace(ti, region="")
            event = structs.replace(event, ti=ti)
        before = self._names.get(row.id)
        if before is not None and before != ti:
            self._current.pop(before, None)
            yield structs.replace(event, op="delete", ti=before, new=None)
            if _is_numbered_anew(event):
                event = structs.replace(event, op="insert", old=None)
        self._follow(event, row, region)
        yield event

    def _follow(self, event: TaskInstanceEvent, row: Row, region: str) -> None:
        ti = event.ti
        current = self._current.get(ti)
        if event.new is None or row.archived:
            self._names.pop(row.id, None)
            if current and current[0] == row.id:
                del self._current[ti]
            elif current is None and self._ended.get(hash(ti)) == hash(region):
                del self._ended[hash(ti)]
            return
        ended_in = self._ended.pop(hash(ti), None)
        if current is None:
            another = ended_in is not None and ended_in != hash(region)
        else:
            another = current[0] != row.id and current[1] != region
        if another:
            self._newly_ambiguous |= {ti} - self.ambiguous
            self.ambiguous.add(ti)
        if row.state in FINISHED:
            self._end(ti, row.id, region)
        else:
            self._names[row.id] = ti
            self._current[ti] = (row.id, region)

    def _end(self, ti: TaskInstanceKey, identity: str, region: str) -> None:
        self._names.pop(identity, None)
        self._current.pop(ti, None)
        self._ended[hash(ti)] = hash(region)


def _without_region(event: Event) -> Event:
    """Give an answer, which is about a row, under the task instance's name."""
    if not isinstance(event, AnswerEvent) or event.ti is None or not event.ti.region:
        return event
    return structs.replace(event, ti=structs.replace(event.ti, region=""))


def _name(event: TaskInstanceEvent) -> tuple[str, str, str, int]:
    ti = event.ti
    return ti.dag_id, ti.run_id, ti.task_id, ti.map_index


def _is_numbered_anew(event: TaskInstanceEvent) -> bool:
    """Tell whether a row got another try for its new name, under which there were tries before."""
    old, new = event.old, event.new
    return old is not None and new is not None and old.try_number < new.try_number != 1


def _net(rows: list[TaskInstanceEvent]) -> list[TaskInstanceEvent]:
    """Put an archived row and its successor, of one transaction, into one change."""
    archived = next((n for n, row in enumerate(rows) if _archives(row)), None)
    if archived is None:
        return rows
    first = next(row for row in rows if _same_row(row, rows[archived]))
    gone, rest = rows[archived].new, rows[archived + 1 :]
    heirs = [row for row in rest if row.new is not None and not row.new.archived]
    if not heirs or (gone is not None and gone.archived_reason == SUPERSEDED):
        return [structs.replace(first, op="delete", new=None), *rest]
    op = "insert" if first.old is None else "update"
    return [structs.replace(first, op=op, new=heirs[-1].new)]


def _moved(rows: list[TaskInstanceEvent]) -> Iterator[ArchivedEvent]:
    """Tell which archived rows have another state now."""
    for row in rows:
        old, new = row.old, row.new
        if old is not None and new is not None and old.state != new.state:
            ti = structs.replace(row.ti, region="")
            yield ArchivedEvent(row.t, ti, old, new, row.process)


def _archives(event: TaskInstanceEvent) -> bool:
    old, new = event.old, event.new
    return new is not None and new.archived and not (old is not None and old.archived)


def _same_row(one: TaskInstanceEvent, other: TaskInstanceEvent) -> bool:
    mine, others = one.new or one.old, other.new or other.old
    return mine is not None and others is not None and mine.id == others.id
