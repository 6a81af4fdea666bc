"""The flood's Locust users: one triggers runs and sees them end, the others look at the UI.

Started by `load.flood`; or by hand, from the repository's root:

    locust -f load/locustfile.py --headless -H http://127.0.0.1:8080 -u 3 --dags wide,deep --runs 9
"""

import itertools
import time
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

import gevent
import msgspec
from gevent.pool import Pool
from locust import constant, task
from locust.exception import StopUser

from common.waiting import Deadline
from load import hooks as hooks
from load.client import RETRY_SECONDS, AirflowUser, Answer
from load.plan import Order, share, visits
from load.ui import FRAME, PAGES, REFRESH_SECONDS

CONCURRENT_TRIGGERS = 8
WATCH_SECONDS = 1.0
PAGE_LIMIT = 100
LATE = timedelta(seconds=15)


class Operator(AirflowUser):
    """Triggers its process' share of the runs and sees them end: one in every process."""

    fixed_count = 1
    wait_time = constant(WATCH_SECONDS)
    placing: ClassVar[gevent.Greenlet | None] = None

    def on_start(self) -> None:
        """Begin to place orders; look back an hour at first: the server's clock may not be ours.

        Locust hands the users of a lost worker to another: that share is not asked for twice.
        """
        if Operator.placing is not None:
            raise StopUser
        self.since = datetime.now(UTC) - timedelta(hours=1)
        self.turn = 0
        self.token()
        Operator.placing = gevent.spawn(self.place_all)

    def place_all(self) -> None:
        """Trigger the runs when they are due, whether or not the earlier ones were answered."""
        index = max(0, getattr(self.environment.runner, "worker_index", 0))
        begin, pool = time.monotonic(), Pool(CONCURRENT_TRIGGERS)
        for order in share(self.asked, index):
            gevent.sleep(max(0.0, begin + order.n / self.asked.rate - time.monotonic()))
            pool.spawn(self.place, order)
        pool.join()
        self.tally.placed = True

    def place(self, order: Order) -> None:
        """Trigger one run; asks again under the same id as long as the answer is none.

        A 409 to a repeated request means that an earlier one had made the run. A DAG that is
        not there may not have been parsed yet: it has `patience` seconds.
        """
        deadline = Deadline(self.patience)
        for attempt in itertools.count():
            answer = self.call(
                "POST",
                "/api/v2/dags/{dag_id}/dagRuns",
                {"dag_id": order.dag_id},
                {"logical_date": None, "dag_run_id": order.run_id},
                accept=_made_before if attempt else _nothing,
            )
            if answer.ok or (attempt and _made_before(answer)):
                self.tally.triggered(order)
                return
            if self.tally.hopeless(answer.status):
                self.give_up(answer)
                return
            if not (_is_no_answer(answer) or (answer.status == 404 and not deadline.passed)):
                return
            gevent.sleep(RETRY_SECONDS)

    def give_up(self, answer: Answer) -> None:
        """End the flood: the server answers every request for a run with an error of its own."""
        self.tally.error = self.tally.error or f"it takes no run, each is answered {answer.words}"
        type(self).leave()

    @task
    def watch(self) -> None:
        """Ask which runs ended lately, and in turn for the state of one that still seems open."""
        for run in self.ended_lately():
            self.tally.finished(run["dag_id"], run["dag_run_id"], run["state"])
            self.since = max(self.since, datetime.fromisoformat(run["end_date"]))
        if self.tally.open:
            self.turn += 1
            self.ask_about(list(self.tally.open.values())[self.turn % len(self.tally.open)])
        if self.tally.placed and not self.tally.open:
            type(self).leave()
            raise StopUser

    def ended_lately(self) -> list[dict[str, Any]]:
        """Return the runs that ended since a little before the last one that was seen to.

        A run's end date is set before its transaction commits, and `LATE` allows for that; what
        still slips through is found by asking for it.
        """
        found: list[dict[str, Any]] = []
        asking = {
            "dag_ids": self.asked.dag_ids,
            "states": ["success", "failed"],
            "end_date_gte": (self.since - LATE).isoformat(),
            "page_limit": PAGE_LIMIT,
        }
        for offset in itertools.count(0, PAGE_LIMIT):
            body = {**asking, "page_offset": offset}
            answer = self.call("POST", "/api/v2/dags/~/dagRuns/list", body=body)
            page = msgspec.json.decode(answer.body)["dag_runs"] if answer.ok else []
            found += page
            if len(page) < PAGE_LIMIT:
                break
        return found

    def ask_about(self, order: Order) -> None:
        """Ask for one run's state."""
        values = {"dag_id": order.dag_id, "run_id": order.run_id}
        answer = self.call("GET", "/api/v2/dags/{dag_id}/dagRuns/{run_id}", values)
        state = msgspec.json.decode(answer.body)["state"] if answer.ok else None
        if state in ("success", "failed"):
            self.tally.finished(order.dag_id, order.run_id, state)


class Onlooker(AirflowUser):
    """Somebody with Airflow's UI open, who stays on a page for a while and goes to another."""

    wait_time = constant(REFRESH_SECONDS)
    numbers = itertools.count()

    def on_start(self) -> None:
        """Open the UI; users are numbered through over all processes."""
        index = max(0, getattr(self.environment.runner, "worker_index", 0))
        number = next(self.numbers) * self.asked.operators + index
        self.visits = visits(self.asked, number, tuple(PAGES))
        for routes in FRAME:
            self.poll(routes, {})

    @task
    def look(self) -> None:
        """Stay on one page, which refreshes itself all the while."""
        visit = next(self.visits)
        for _ in range(visit.refreshes):
            for routes in PAGES[visit.page]:
                self.poll(routes, self.values(visit.dag_id))
            gevent.sleep(REFRESH_SECONDS)

    def poll(self, routes: tuple[str, ...], values: dict[str, str]) -> None:
        """Ask by the newest route that this Airflow has; which one is absent is learnt once."""
        for route in routes:
            if route in self.tally.absent:
                continue
            if "{run_id}" in route and "run_id" not in values:
                return
            if not self.call("GET", route, values, accept=_is_absent).absent:
                return
            self.tally.found_absent(route)

    def values(self, dag_id: str) -> dict[str, str]:
        """Return what stands in for the names in a route: a DAG and its newest run, if any."""
        day_ago = datetime.now(UTC) - timedelta(days=1)
        values = {"dag_id": dag_id, "since": day_ago.strftime("%Y-%m-%dT%H:%M:%SZ")}
        newest = self.tally.newest.get(dag_id)
        return values | ({"run_id": newest} if newest else {})


def _nothing(_: Answer) -> bool:
    return False


def _is_absent(answer: Answer) -> bool:
    return answer.absent


def _made_before(answer: Answer) -> bool:
    return answer.status == 409


def _is_no_answer(answer: Answer) -> bool:
    return answer.status in (0, 429) or answer.status >= 500
