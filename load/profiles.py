"""Named floods: which DAGs, how many runs of them, and how fast."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from common.errors import UserError
from dags.shapes import Shape, ShapeError, dags
from load.flood import Flood
from load.plan import Asked, orders

FAST_PODS: Mapping[str, str] = {
    "AIRFLOW__KUBERNETES_EXECUTOR__WORKER_PODS_CREATION_BATCH_SIZE": "16",
}
"""The layer for floods that are about numbers. By default a scheduler makes one pod a loop, so that
the executor's own queue, which is reset when a peer adopts it, is long; that is what a deployment
has, so a flood that is about faults goes without this."""


@dataclass(frozen=True)
class Profile:
    """A flood to be had by name; `dataclasses.replace` makes another of it.

    `shapes` is written as HA_CHAOS_SHAPES is; `rate` is runs a second, `sleep` seconds a task.
    `settings` are more variables of every process, Airflow's or the shapes' own. `busy`: it is
    about numbers, and takes most of what two processors can do (1.4 of them, 3.3.2). `work`: its
    workers do what the shapes say, and take a hundred times as long as simulated ones, which only
    say that they have done it. `triggerers` are those that its shapes need.
    `dag_ids` are a user's own DAGs, which take the place of the shapes.
    """

    name: str
    summary: str
    shapes: str
    runs: int
    rate: float
    users: int = 2
    sleep: float = 0.0
    settings: Mapping[str, str] = field(default_factory=dict)
    busy: bool = False
    work: bool = False
    triggerers: int = 0
    dag_ids: tuple[str, ...] = ()

    def dags(self) -> dict[str, Shape]:
        """Return the flood's DAGs by id; UserError where the shapes cannot be made."""
        try:
            return dags(self.shapes)
        except ShapeError as error:
            raise UserError(f"The flood {self.name!r} cannot be made: {error}") from None

    def asked(self, seed: int, workers: int = 0) -> Asked:
        """Return what its flood asks for."""
        return Asked(
            dag_ids=self.dag_ids or tuple(self.dags()),
            runs=self.runs,
            rate=self.rate,
            users=self.users,
            seed=seed,
            run_prefix=self.name,
            workers=workers,
        )

    def task_instances(self, seed: int = 0) -> int:
        """Return how many task instances of the flood's runs are scheduled, if all come to be.

        Of a user's DAGs nobody knows that: one a run is the least.
        """
        if self.dag_ids:
            return self.runs
        shapes = self.dags()
        return sum(shapes[order.dag_id].scheduled for order in orders(self.asked(seed)))

    def for_pods(self) -> "Profile":
        """Return the flood for workers that are real pods: a third of the runs, a third as fast.

        A pod costs a node some seconds of CPU where a simulated worker costs milliseconds.
        """
        return replace(self, runs=max(1, self.runs // 3), rate=self.rate / 3)

    def of_dags(self, dag_ids: tuple[str, ...]) -> "Profile":
        """Return the flood with a user's own DAGs: their code is run, and it may defer."""
        return replace(
            self.for_pods(), dag_ids=dag_ids, work=True, triggerers=max(1, self.triggerers)
        )

    def environment(self) -> dict[str, str]:
        """Return the variables that every process of Airflow and every worker must carry."""
        shape = {"HA_CHAOS_SHAPES": self.shapes, "HA_CHAOS_SLEEP": f"{self.sleep:g}"}
        return {**shape, **self.settings}

    def flood(
        self,
        base_url: str,
        directory: Path,
        seed: int,
        run_time: float | None = None,
        workers: int = 0,
    ) -> Flood:
        """Return the flood, not yet started, against an API server that has its DAGs."""
        return Flood(base_url, directory, self.asked(seed, workers), run_time=run_time)


PROFILES: Mapping[str, Profile] = {
    profile.name: profile
    for profile in (
        Profile("smoke", "a look at whether anything works", "single*2,deep:3", 4, 2.0, users=1),
        Profile(
            "issue",
            "the reporter's DAG of apache/airflow#57618, one run at a time of each of six copies",
            "issue_57618*6",
            runs=6,
            rate=0.5,
            settings=FAST_PODS,
            busy=True,
        ),
        Profile(
            "faults",
            "short runs of three shapes for three quarters of a minute, to have a fault amid them",
            "wide:8,deep:4,diamond:2",
            runs=12,
            rate=0.25,
            users=1,
            sleep=2.0,
            settings={
                # How often a scheduler looks for what a dead one left behind: 300 s by default.
                "AIRFLOW__SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": "20",
                # However often a task's pod is deleted, the task is done in the end.
                "HA_CHAOS_RETRIES": "20",
            },
        ),
        Profile(
            "steady",
            "shapes of every kind but sensors, two minutes long",
            "many_groups:4x5,wide:20,deep:6,diamond,mapped:10,branching,flaky:5,single*4",
            runs=66,
            rate=0.5,
            settings=FAST_PODS,
            busy=True,
        ),
        Profile(
            "every",
            "every kind of shape, with real workers: limits, retries, deferrals, assets, callbacks",
            "calling,deep:3,wide:6,diamond:1,mapped:4,many_groups:2x2,branching:2,flaky:3,sensors:2,"
            "deferrable:2,impatient:60,serial,producer,consumer",
            runs=28,
            rate=0.5,
            users=1,
            settings={
                **FAST_PODS,
                "HA_CHAOS_MAX_ACTIVE_TASKS": "3",
                # Longer than a scheduler's loop, for the sake of `sensors`.
                "HA_CHAOS_POKE_INTERVAL": "5",
            },
            work=True,
            triggerers=1,
        ),
    )
}


def profile(name: str) -> Profile:
    """Return the flood of that name; UserError with the names that there are."""
    if name not in PROFILES:
        raise UserError(f"No flood is called {name!r}.", f"The floods are {', '.join(PROFILES)}.")
    return PROFILES[name]
