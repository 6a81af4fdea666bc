"""Whose heartbeat is which, so that a schedule can have one be late, and no other is.

An explored lab takes nobody for dead in less than `plan.ALIVE` seconds, longer than any round.
Where a schedule chooses that a process is late, its row in `job` is set back by an hour, while it
is frozen or dead: its peers then see what they would see after that hour.
"""

from collections.abc import Iterable, Sequence

import psycopg

from common.waiting import until

_HEARD = 10.0
"""Seconds in which all schedulers give a heartbeat, which they do every 5; waited for once."""

_WATCH = """
CREATE UNLOGGED TABLE IF NOT EXISTS chaos.heartbeat (
    job integer PRIMARY KEY, process text NOT NULL
);
CREATE OR REPLACE FUNCTION chaos.heard() RETURNS trigger
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    INSERT INTO chaos.heartbeat VALUES (NEW.id, current_setting('application_name'))
    ON CONFLICT DO NOTHING;
    RETURN NULL;
END $$;
CREATE OR REPLACE TRIGGER chaos_heard AFTER INSERT OR UPDATE OF latest_heartbeat ON job
    FOR EACH ROW EXECUTE FUNCTION chaos.heard();
"""

_KNOWN = "INSERT INTO chaos.heartbeat VALUES (%s, %s) ON CONFLICT DO NOTHING"

_NEWEST = "SELECT max(job) FROM chaos.heartbeat WHERE process = %s"

# Whose row is locked is in the middle of a heartbeat, and may be frozen there.
_SET_BACK = """
UPDATE job SET latest_heartbeat = latest_heartbeat - interval '1 hour'
WHERE id IN (SELECT id FROM job WHERE id = %s FOR UPDATE SKIP LOCKED)
"""

_RENEW = """
UPDATE job SET latest_heartbeat = now()
WHERE id IN (SELECT id FROM job WHERE id = %s FOR UPDATE SKIP LOCKED)
"""

_SILENT = """
SELECT id, extract(epoch FROM now() - latest_heartbeat)::float8
FROM job WHERE state = 'running' AND job_type IN ('SchedulerJob', 'TriggererJob')
"""


class Heartbeats:
    """Knows the row of each process in `job`, and which ones a schedule has made late.

    It outlives the connections to a lab's database: what was heard once is known from then on.
    """

    def __init__(self) -> None:
        self._jobs: dict[str, int] = {}
        self._late: set[int] = set()
        self._connection: psycopg.Connection | None = None

    def watch(self, connection: psycopg.Connection) -> None:
        """Learn who gives which heartbeat, until schema `chaos` is dropped."""
        self._connection = connection
        connection.execute(_WATCH)
        for process, job in self._jobs.items():
            connection.execute(_KNOWN, (job, process))

    def meet(self, connection: psycopg.Connection, processes: Sequence[str]) -> None:
        """Watch, and wait until all of these have given a heartbeat, for 10 s at most."""
        self.watch(connection)
        until(lambda: self.learn(processes), _HEARD)

    def job(self, process: str) -> int | None:
        """Return the newest row of a process; None before its first heartbeat."""
        assert self._connection is not None
        row = self._connection.execute(_NEWEST, (process,)).fetchone()
        if row is not None and row[0] is not None:
            self._jobs[process] = int(row[0])
        return self._jobs.get(process)

    def learn(self, processes: Iterable[str]) -> bool:
        """Return whether all of these are known."""
        return None not in [self.job(process) for process in processes]

    def set_back(self, process: str) -> bool:
        """Have a process' heartbeat be late, who is not at work; return whether it is."""
        assert self._connection is not None
        job = self.job(process)
        if job is None:
            return False
        self._late.add(job)
        return self._connection.execute(_SET_BACK, (job,)).rowcount > 0

    def renew(self, process: str) -> None:
        """Have a process that a schedule made late, and that is at work, be heard of now.

        It would be late until its next heartbeat, some 5 s: longer than the rest of most rounds.
        """
        assert self._connection is not None
        if (job := self.job(process)) in self._late:
            self._connection.execute(_RENEW, (job,))

    def silent(self, longest: float) -> float:
        """Return for how many seconds a process gave no heartbeat that no schedule made late.

        One that was made late, and has been heard within `longest` seconds, is as others again.
        """
        assert self._connection is not None
        ages: dict[int, float] = dict(self._connection.execute(_SILENT).fetchall())
        self._late = {job for job in self._late if ages.get(job, 0.0) > longest}
        return max((age for job, age in ages.items() if job not in self._late), default=0.0)
