"""What is to be true whenever a transaction has been committed, and may not be within one."""

from collections.abc import Iterable, Iterator

from oracle.events import DagRunEvent, Header, RowEvent, TaskInstanceEvent
from oracle.invariants.base import Invariant, Violation

_Change = DagRunEvent | TaskInstanceEvent | RowEvent


class AtCommits(Invariant):
    """Counts what changes, and is asked whenever all changes of a transaction have been counted.

    Where the database does not tell when transactions were committed, the order of two of them is
    not known well enough, and it abstains.
    """

    def __init__(self, header: Header) -> None:
        super().__init__(header)
        self._ordered = header.by_commit
        self._xid = 0

    def over(self) -> Iterable[Violation]:
        """Judge what a transaction left; asked once after each that changed something."""
        return ()

    def begin(self, change: _Change) -> Iterator[Violation]:
        """Judge the transaction before this change's, if it is another."""
        if change.xid != self._xid:
            if self._ordered:
                yield from self.over()
            self._xid = change.xid

    def finish(self) -> Iterable[Violation]:
        """Judge the last transaction."""
        return self.over() if self._ordered else ()

    def abstention(self) -> str | None:
        """Say that the order of commits is not known."""
        if self._ordered:
            return None
        return (
            "the database does not tell when transactions were committed (track_commit_timestamp)"
        )
