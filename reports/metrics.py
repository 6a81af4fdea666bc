"""How fast a run went: what a scheduler's users feel, measured from its history alone.

    could run --lag--> scheduled --queueing--> queued --start--> running --> ended

A task instance could run once its last upstream had ended, or its DAG run had begun where it has
none; who its upstreams are is known of the DAGs of `dags.shapes`, for others lag is not measured.
Only the first time of each step counts, so that a task instance that a race or a retry takes
through them again distorts nothing. All times are between commits in the database.
"""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import msgspec

from dags.shapes import Shape, ShapeError, shape
from oracle.attempts import Attempts
from oracle.events import DagRunEvent, Event, Header, PodEvent, TaskInstanceEvent, TaskInstanceKey
from oracle.history import HistoryError, read
from oracle.invariants import Violation
from oracle.states import FINISHED, QUEUED, RUN_FINISHED, RUNNING, SCHEDULED
from reports.records import TestRecord

SCHEMA = 1
METRICS = "metrics.json"
HISTORY = "history.ndjson"


class Metrics(msgspec.Struct, frozen=True, kw_only=True):
    """One run's figures, as metrics.json keeps them; seconds, to the millisecond.

    `task_instances` were seen, `ended` of them came to an end. `makespan` is from the first run's
    creation to the last end, `throughput` the task instances ended in each second of it. `lag`,
    `queueing` and `start` have one figure a task instance, `pod_start` one a pod, from when it
    was made until it ran; `pods_per_second` is how fast pods were made.
    """

    schema: int = SCHEMA
    task_instances: int = 0
    ended: int = 0
    makespan: float = 0.0
    throughput: float = 0.0
    lag: list[float] = []
    queueing: list[float] = []
    start: list[float] = []
    pod_start: list[float] = []
    pods: int = 0
    pods_per_second: float = 0.0

    @property
    def whole(self) -> bool:
        """Whether everything that was begun ended: only such runs can be compared."""
        return 0 < self.task_instances == self.ended


def measure(path: Path | str) -> Metrics:
    """Measure a history, one event in memory at a time; raises HistoryError."""
    header, events = read(path)
    gauge = Gauge(header)
    for event in events:
        gauge.feed(event)
    return gauge.metrics()


def metrics_of(test: TestRecord) -> Metrics | None:
    """Return the figures a test left, measured anew where they are of another schema.

    None where it left no history that can be read.
    """
    folder = Path(test.folder)
    try:
        kept = msgspec.json.decode((folder / METRICS).read_bytes(), type=Metrics)
        if kept.schema == SCHEMA:
            return kept
    except (OSError, msgspec.MsgspecError):
        pass
    try:
        return measure(folder / HISTORY)
    except HistoryError:
        return None


@dataclass
class _DagRun:
    """What is known of a run that goes on: dropped when it ends, for a history may be long."""

    began: float | None = None
    reached: dict[tuple[TaskInstanceKey, str], float] = field(default_factory=dict)
    ends: Counter[str] = field(default_factory=Counter)
    last_end: dict[str, float] = field(default_factory=dict)


class Gauge:
    """Measures the events that it is fed, in order, while somebody else judges or draws them."""

    def __init__(self, header: Header) -> None:
        self._attempts = Attempts(header)
        self._runs: defaultdict[tuple[str, str], _DagRun] = defaultdict(_DagRun)
        self._seen: set[int] = set()
        self._ended: set[int] = set()
        self._first: float | None = None
        self._last = 0.0
        self._lag: list[float] = []
        self._steps: dict[str, list[float]] = {QUEUED: [], RUNNING: []}
        self._pods = _PodStarts()

    def feed(self, event: Event, violations: Sequence[Violation] = ()) -> None:  # noqa: ARG002
        """Take the next event; what a judge found in it is no matter here."""
        for change in self._attempts.feed(event):
            self._take(change)

    def _take(self, event: Event) -> None:
        if isinstance(event, TaskInstanceEvent):
            self._task_instance(event)
        elif isinstance(event, DagRunEvent):
            self._dag_run(event)
        elif isinstance(event, PodEvent):
            self._pods.feed(event)

    def metrics(self) -> Metrics:
        """Return the figures; call it once, at the end."""
        for change in self._attempts.finish():
            self._take(change)
        makespan = max(0.0, self._last - (self._first or 0.0))
        return Metrics(
            task_instances=len(self._seen),
            ended=len(self._ended),
            makespan=round(makespan, 3),
            throughput=round(len(self._ended) / makespan, 3) if makespan else 0.0,
            lag=_rounded(self._lag),
            queueing=_rounded(self._steps[QUEUED]),
            start=_rounded(self._steps[RUNNING]),
            pod_start=_rounded(self._pods.start),
            pods=len(self._pods.made),
            pods_per_second=round(self._pods.rate, 3),
        )

    def _dag_run(self, event: DagRunEvent) -> None:
        key = event.dag_id, event.run_id
        if self._first is None:
            self._first = event.t
        if event.new == RUNNING:
            run = self._runs[key]
            run.began = event.t if run.began is None else run.began
        elif event.new is None or event.new in RUN_FINISHED:
            self._runs.pop(key, None)

    def _task_instance(self, event: TaskInstanceEvent) -> None:
        if self._first is None:
            self._first = event.t
        name = hash(event.ti)
        self._seen.add(name)
        state = event.new.state if event.new else None
        if state is None or (event.old and event.old.state == state):
            return
        if state in FINISHED:
            if name not in self._ended:
                self._ended.add(name)
                self._last = event.t
                run = self._runs[event.ti.dag_id, event.ti.run_id]
                run.ends[event.ti.task_id] += 1
                run.last_end[event.ti.task_id] = event.t
        elif name not in self._ended:
            self._step(event, state)

    def _step(self, event: TaskInstanceEvent, state: str) -> None:
        run = self._runs[event.ti.dag_id, event.ti.run_id]
        if (event.ti, state) in run.reached:
            return
        run.reached[event.ti, state] = event.t
        before = {QUEUED: SCHEDULED, RUNNING: QUEUED}.get(state)
        if before and (since := run.reached.get((event.ti, before))) is not None:
            self._steps[state].append(event.t - since)
        elif state == SCHEDULED and (ready := _ready(event.ti, run)) is not None:
            self._lag.append(max(0.0, event.t - ready))


def _ready(ti: TaskInstanceKey, run: _DagRun) -> float | None:
    """Return when the task instance could run; None where the history does not tell."""
    known = _tasks(ti.dag_id)
    if known is None or ti.task_id not in known:
        return None
    upstreams = known[ti.task_id]
    if not upstreams:
        return run.began
    if any(run.ends[task] < instances for task, instances in upstreams.items()):
        return None
    return max(run.last_end[task] for task in upstreams)


@lru_cache
def _tasks(dag_id: str) -> dict[str, dict[str, int]] | None:
    """Return each task's upstreams, with how many instances each has; None for foreign DAGs."""
    made = _shape(dag_id)
    if made is None:
        return None
    tasks = [node.task_id for node in made.nodes]
    members = {name: [name] for name in tasks}
    for group in made.groups:
        members[group] = [node.task_id for node in made.nodes if node.group == group]
    found: dict[str, dict[str, int]] = {name: {} for name in tasks}
    for above, below in made.edges:
        for task in members[below]:
            found[task] |= {up: made.mapped.get(up, 1) for up in members[above]}
    return found


def _shape(dag_id: str) -> Shape | None:
    """Return the shape of a DAG as `dags.shapes.dags` names them: wide, wide-200, wide-200_3."""
    base, _, copy = dag_id.rpartition("_")
    for name in (dag_id, base if copy.isdigit() else ""):
        try:
            return shape(name.replace("-", ":", 1))
        except ShapeError:
            continue
    return None


@dataclass
class _PodStarts:
    """How fast pods are made, and how long each takes until it runs."""

    start: list[float] = field(default_factory=list)
    made: list[float] = field(default_factory=list)
    waiting: dict[str, float] = field(default_factory=dict)

    @property
    def rate(self) -> float:
        """How many pods were made in each second from the first to the last."""
        lasted = self.made[-1] - self.made[0] if self.made else 0.0
        return len(self.made) / lasted if lasted > 0 else 0.0

    def feed(self, event: PodEvent) -> None:
        if event.op == "added":
            self.made.append(event.t)
            self.waiting[event.uid] = event.t
        elif event.phase == "Running" and event.uid in self.waiting:
            self.start.append(event.t - self.waiting.pop(event.uid))
        elif event.op == "deleted":
            self.waiting.pop(event.uid, None)


def _rounded(values: list[float]) -> list[float]:
    return [round(value, 3) for value in values]
