"""The promises that a history is judged by."""

from collections.abc import Collection

from oracle.invariants.all_tries_start import AllTriesStart
from oracle.invariants.asset_condition_met import AssetConditionMet
from oracle.invariants.asset_events_consumed import AssetEventsConsumed
from oracle.invariants.base import Invariant, Violation
from oracle.invariants.called_back_once import CalledBackOnce
from oracle.invariants.completed_work_stands import CompletedWorkStands
from oracle.invariants.drained_dag import DrainedDag
from oracle.invariants.executed_once import ExecutedOnce
from oracle.invariants.legal_transition import LegalTransition
from oracle.invariants.max_active_runs import MaxActiveRuns
from oracle.invariants.max_active_tasks import MaxActiveTasks
from oracle.invariants.no_crash import NoCrash
from oracle.invariants.no_invented_outcome import NoInventedOutcome
from oracle.invariants.no_live_orphan import NoLiveOrphan
from oracle.invariants.no_lost_task import NoLostTask
from oracle.invariants.no_server_error import NoServerError
from oracle.invariants.one_backfill import OneBackfill
from oracle.invariants.partitions_run import PartitionsRun
from oracle.invariants.pool_slots import PoolSlots
from oracle.invariants.queued_in_time import QueuedInTime
from oracle.invariants.retry_after_end import RetryAfterEnd
from oracle.invariants.run_ends_once import RunEndsOnce
from oracle.invariants.single_live_pod import SingleLivePod
from oracle.invariants.stops_in_time import StopsInTime
from oracle.invariants.success_stands import SuccessStands
from oracle.invariants.trigger_owner import TriggerOwner
from oracle.invariants.unique_try import UniqueTry
from oracle.invariants.valid_start import ValidStart
from oracle.invariants.workers_answered import WorkersAnswered

INVARIANTS: tuple[type[Invariant], ...] = (
    UniqueTry,
    RetryAfterEnd,
    LegalTransition,
    NoInventedOutcome,
    SuccessStands,
    AllTriesStart,
    RunEndsOnce,
    CalledBackOnce,
    MaxActiveRuns,
    MaxActiveTasks,
    OneBackfill,
    DrainedDag,
    PoolSlots,
    AssetEventsConsumed,
    AssetConditionMet,
    PartitionsRun,
    NoCrash,
    StopsInTime,
    NoServerError,
    WorkersAnswered,
    NoLiveOrphan,
    TriggerOwner,
    SingleLivePod,
    ValidStart,
    ExecutedOnce,
    CompletedWorkStands,
    QueuedInTime,
    NoLostTask,
)
"""All of them, the ones that name a cause before the ones that show its effects."""


def cause_of(broken: Collection[str]) -> str:
    """Return which of the promises that were broken names the cause: others may come of it."""
    return next(each.name for each in INVARIANTS if each.name in broken)


__all__ = ["INVARIANTS", "Invariant", "Violation", "cause_of"]
