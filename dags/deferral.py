"""A task that defers, kept apart so that only a lab with a triggerer imports triggers."""

from datetime import timedelta
from typing import Any

from airflow.providers.standard.operators.python import PythonOperator
from airflow.providers.standard.triggers.temporal import TimeDeltaTrigger
from airflow.sdk import Context

DEFER_SECONDS = 1.0


class DeferringOperator(PythonOperator):
    """Gives its slot to the triggerer for a second, comes back and calls its function.

    With a `patience` in seconds, it fails when it has not come back by then. Only the work after
    the wait is in the ledger: a deferred task has done nothing yet.
    """

    def __init__(self, *, patience: float = 0.0, **more: Any) -> None:
        super().__init__(**more)
        self.patience = timedelta(seconds=patience) if patience else None

    def execute(self, context: Context) -> None:  # noqa: ARG002
        """Defer at once."""
        wait = TimeDeltaTrigger(timedelta(seconds=DEFER_SECONDS))
        self.defer(trigger=wait, method_name="resume", timeout=self.patience)

    def resume(self, context: Context, event: Any = None) -> Any:  # noqa: ARG002
        """Do the work that was deferred."""
        return super().execute(context)
