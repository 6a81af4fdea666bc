"""Makes the histories of the oracle's tests: tales a person can read, told as NDJSON.

Every `tests/oracle/tales/PROMISE.tale` becomes `HISTORIES / PROMISE / NAME.ndjson`.

A tale is `== NAME` and lines of `TIME WHO WHAT`; what a row was before is remembered:

    0.5  scheduler-1  start -> scheduled try 1       a task instance (`start[2]`, `start@r2`);
                                                     `job 2`: by whom it is queued; one of before
                                                     the tale may be `deleted`
                                                     `tries 1`: its max_tries;
                                                     `pool p`, `slots 2`: what it takes
    0.0  api-server   run -> queued                  a DAG run (`run@r2`); `end 5`: its end_date;
                                                     `backfill 3`: what it belongs to;
                                                     `row 12`: the row's id
    0.0  limit        runs 1                         max_active_runs of the DAG; also `tasks 2`,
                                                     `pool p 2`, `pool p 2 deferred`, `backfill 3 1`
    1.0  pod a        of start try 1 Pending         Running, Succeeded, Failed, gone; `deleting`
                                                     `owner 2`: whose job made it; `base 0`: its
                                                     worker's container ended so, a sidecar runs on
    2.0  worker a     of start try 1 refused 409 invalid_state running      or `exit 0`
    2.0  code         start of start try 1 in a      or end, fail
    2.0  answer       state of start success 204     what a worker said it is in, and was answered;
                                                     `none` by nobody, `lost` on the way; or
                                                     `heartbeat of start none`
    0.0  fault        begin delay scheduler-2        or end
    0.0  hold         held select scheduler-2        or hold, release; `patch~of~pods` at a request
    0.0  process      ended scheduler-1 1 its last words     or watched, started
    0.0  assume       recorder-without-gaps met      or unmet
    8.0  waiting      run the DAG is paused          or `start scheduled the pool is full`
    0.0  asset        1 sets off d                   or `1 and 2 set off d`, when both are updated
    1.0  asset        1 updated as 7 by api-server   event 7; `of k for k`: of the partition k,
                                                     which d knows by the same key; `of k`: of no
                                                     partition that anybody reads
    1.0  backfill     3 made by api-server           or completed by scheduler-1; `seen` by nobody
    1.0  trigger      5 taken by triggerer-1 job 7   or `made by ..`, `let go by ..` (of no job)
    1.0  dag          draining by api-server         or paused by scheduler-1
    1.5  scheduler-1  consume 7 in 12                by the run whose line says `row 12`
    3.0  scheduler-1  call-back run success          a request for the callback of a run that
                                                     ended so; `start try 1`: of a task's try
    0.0  unseen       what CeleryExecutor runs       what the header says is not covered
    9.0  end                                         told by itself 1 s after the last line

A line that ends with `&` is of the same transaction as the next. `commit times unknown`, first of
all, says that the database does not tell when transactions were committed.

A tale of Airflow 3.4 says `row-per-attempt` in a line of its own, first of all. There `archive`
stands before the state that the next attempt is made with, in the same transaction:

    2.0  api-server   start -> archive up_for_retry   the row is archived, and its successor made
    2.0  api-server   start -> supersede              the row is archived, and nothing is made
    3.0  scheduler-1  start -> history success        the last archived row moves
"""

import atexit
import json
import re
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

TALES = Path(__file__).parent / "tales"
SUCCESSES = {"Succeeded": 0, "Failed": 1}

Line = dict[str, Any]


class Telling:
    """Turns the lines of one tale into the lines of one history."""

    def __init__(self, name: str) -> None:
        self._rows: dict[str, Line] = {}
        self._archived: dict[str, Line] = {}
        self._attempts = False
        self._runs: dict[str, tuple[str, float | None]] = {}
        self._pods: set[str] = set()
        self._dag: Line = {"dag_id": "d", "is_draining": False, "is_paused": False}
        self._t = 0.0
        self._xid = 100
        self._same = False
        self.lines: list[Line] = [
            {"kind": "header", "schema": 1, "run": name, "airflow": "3.0.6", "lab": "embedded"}
            | {"schedulers": ["scheduler-1", "scheduler-2"], "seed": 1, "epoch": 1762000000.0}
            | {"by_commit": True}
        ]

    def tell(self, line: str) -> None:
        """Add the events of one line."""
        if line.strip() == "row-per-attempt":
            self._attempts = True
            self.lines[0] |= {"airflow": "3.4.0b2", "attempts": "row-per-attempt"}
            return
        if line.strip() == "commit times unknown":
            self.lines[0]["by_commit"] = False
            return
        time, who, *words = line.split()
        self._t = float(time)
        if goes_on := words[-1] == "&":
            words.pop()
        self._tell(who, words)
        self._same = goes_on

    def _tell(self, who: str, words: list[str]) -> None:
        teller = getattr(self, f"_tell_{who}", None)
        if teller is not None:
            teller(words)
        elif words[0] == "consume":
            row = {"event_id": int(words[1]), "dag_run_id": int(words[3])}
            self._other("insert", "dagrun_asset_event", row, who)
        elif words[0] == "call-back":
            self._call_back(who, *words[1:])
        elif words[0].startswith("run"):
            self._run(who, words)
        else:
            self._row(who, words)

    def _tell_pod(self, words: list[str]) -> None:
        self._pod(*_of_a_try(words))

    def _tell_worker(self, words: list[str]) -> None:
        self._worker(*_of_a_try(words))

    def _tell_code(self, words: list[str]) -> None:
        op, _, task, _, attempt, _, pod = words
        self._add("ledger", op=op, ti=key(task), try_number=int(attempt), pod=pod, pid=7)

    def _tell_fault(self, words: list[str], kind: str = "fault") -> None:
        op, name, process, *detail = words
        named = name.replace("~", " ")
        self._add(kind, op=op, name=named, process=process, detail=" ".join(detail))

    def _tell_hold(self, words: list[str]) -> None:
        self._tell_fault(words, "hold")

    def _tell_unseen(self, words: list[str]) -> None:
        self.lines[0].setdefault("not_covered", []).append(" ".join(words))

    def _tell_process(self, words: list[str]) -> None:
        op, name, *how = words
        code = int(how[0]) if how else None
        self._add("process", op=op, process=name, exit_code=code, detail=" ".join(how[1:]))

    def _tell_assume(self, words: list[str]) -> None:
        self._add("assumption", name=words[0], met=words[1] == "met", value="", wanted="")

    def end(self, line: str | None) -> None:
        """Add the end, where the tale puts it or one second after its last line."""
        self._t = float(line.split()[0]) if line else self._t + 1.0
        self._add("end", events=len(self.lines) - 1)

    def _add(self, kind: str, **fields: Any) -> None:
        self.lines.append({"kind": kind, "t": self._t, **fields})

    def _tell_answer(self, words: list[str]) -> None:
        if words[0] == "heartbeat":  # which says nothing of a state
            words.insert(3, "")
        request, _, task, state, status, *lost = words
        given = not lost and status != "none"
        code = None if status == "none" else int(status)
        row = self._rows.get(task, {})
        which = {"request": request, "id": f"id-{task}", "ti": key(task), "state": state or None}
        which |= {"try_number": row.get("try_number", 0)}
        self.lines[0]["answers"] = True
        self._add("answer", **which, status=code, given=given)

    def _tell_waiting(self, words: list[str]) -> None:
        task, *why = words
        which = {"dag_id": "d", "run_id": task.partition("@")[2] or "r1"}
        if not task.startswith("run"):
            which |= {"task_id": key(task)["task_id"], "state": why.pop(0)}
        self._add("waiting", **which, why=" ".join(why))

    def _tell_limit(self, words: list[str]) -> None:
        what, *values = words
        limits: dict[str, Callable[..., tuple[str, Line]]] = {
            "runs": lambda n: ("dag", {"dag_id": "d", "max_active_runs": int(n)}),
            "tasks": lambda n: ("dag", {"dag_id": "d", "max_active_tasks": int(n)}),
            "backfill": lambda of, n: ("backfill", {"id": int(of), "max_active_runs": int(n)}),
            "pool": lambda name, n, deferred="": (
                "slot_pool",
                {"pool": name, "slots": int(n), "include_deferred": bool(deferred)},
            ),
        }
        table, row = limits[what](*values)
        self._other("seen", table, row)

    def _other(self, op: str, table: str, row: Line, process: str = "") -> None:
        who = {"process": process, "xid": self._next()} if process else {}
        self._add("row", op=op, table=table, old=None, new=row, **who)

    def _tell_asset(self, words: list[str]) -> None:
        if words[1] == "updated":
            asset, event, (who, *of) = int(words[0]), int(words[3]), words[5:]
            key = {"partition_key": of[1]} if of else {}
            self._other("insert", "asset_event", {"id": event, "asset_id": asset, **key}, who)
            if of[2:]:
                target = {"target_dag_id": "d", "target_partition_key": of[3]}
                counts = {"asset_id": asset, "asset_event_id": event, **target}
                counts["source_partition_key"] = of[1]
                self._other("insert", "partitioned_asset_key_log", counts, who)
            return
        assets = [int(word) for word in words if word.isdigit()]
        expression = {"all": [{"asset": {"id": each}} for each in assets]}
        dag: Line = {"dag_id": words[-1], "is_paused": False, "asset_expression": expression}
        self._other("seen", "dag", dag)
        self._dag |= dag
        for each in assets:
            reference = {"asset_id": each, "dag_id": words[-1]}
            self._other("seen", "dag_schedule_asset_reference", reference)

    def _call_back(self, process: str, whose: str, how: str, number: str = "") -> None:
        row = {**key(whose), "map_index": -1, "ti": f"id-{whose}", "failed": None}
        row |= {"request": "TaskCallbackRequest", "try_number": int(number or 0)}
        if not number:
            row = {"dag_id": "d", "run_id": row["run_id"], "failed": how == "failed"}
            row |= {"request": "DagCallbackRequest"}
        self._other("insert", "callback", row, process)

    def _tell_backfill(self, words: list[str]) -> None:
        number, deed, *by = words
        old: Line = {"id": int(number), "dag_id": "d", "max_active_runs": 4, "completed_at": None}
        if deed == "completed":
            row = {**old, "completed_at": "2026-11-29T00:00:00+00:00"}
            self._update("backfill", old, row, by[1])
        else:
            self._other("insert" if by else "seen", "backfill", old, *by[1:])

    def _tell_trigger(self, words: list[str]) -> None:
        number, deed = int(words[0]), words[1]
        process = words[words.index("by") + 1]
        row = {"id": number, "triggerer_id": int(words[-1]) if deed == "taken" else None}
        if deed == "made":
            self._other("insert", "trigger", row, process)
        else:
            self._update("trigger", {"id": number, "triggerer_id": None}, row, process)

    def _tell_dag(self, words: list[str]) -> None:
        deed, _, process = words
        now = self._dag | {"is_draining": deed == "draining", "is_paused": deed == "paused"}
        self._update("dag", self._dag, now, process)
        self._dag = now

    def _update(self, table: str, old: Line, new: Line, process: str) -> None:
        which = {"process": process, "xid": self._next()}
        self._add("row", op="update", table=table, old=old, new=new, **which)

    def _run(self, process: str, words: list[str]) -> None:
        run = words[0].partition("@")[2] or "r1"
        more = dict(zip(words[3::2], words[4::2], strict=True))
        (old, old_end), new = self._runs.get(run, (None, None)), words[2]
        new_end = float(more["end"]) if "end" in more else old_end
        self._runs[run] = (new, new_end)
        op = "update" if old else "insert"
        which: Line = {"dag_id": "d", "run_id": run, "old": old, "new": new}
        ends = {"old_end": old_end, "new_end": new_end}
        backfill = {"backfill": int(more["backfill"])} if "backfill" in more else {}
        if "row" in more:
            which["row"] = int(more["row"])
        self._add("run", op=op, **which, process=process, xid=self._next(), **ends, **backfill)

    def _row(self, process: str, words: list[str]) -> None:
        task, _, state, *rest = words
        if state in ("archive", "supersede", "history"):
            self._attempt(process, task, state, rest[0] if rest else "")
            return
        old = self._rows.get(task)
        if state == "deleted" and old is None:
            old = {"id": f"id-{task}", "state": "success", "try_number": 1}
        changed = dict(zip(rest[::2], rest[1::2], strict=True))
        new: Line | None = {
            "id": changed.get("id", old["id"] if old else f"id-{task}"),
            "state": None if state == "none" else state,
            "try_number": int(changed.get("try", old["try_number"] if old else 0)),
            "queued_by_job_id": int(changed["job"]) if "job" in changed else None,
            "max_tries": int(changed.get("tries", old.get("max_tries", 0) if old else 0)),
            "pool": changed.get("pool", old.get("pool") if old else None),
            "pool_slots": int(changed.get("slots", old.get("pool_slots", 1) if old else 1)),
        }
        op = "update" if old else "insert"
        if state == "deleted":
            op, new = "delete", None
            self._rows.pop(task, None)
        elif new:
            self._rows[task] = new
        self._add("ti", op=op, ti=key(task), old=old, new=new, process=process, xid=self._next())

    def _attempt(self, process: str, task: str, deed: str, state: str) -> None:
        """Tell what 3.4 does to the rows of a task's attempts, in one transaction."""
        same: Line = {"process": process, "xid": self._next(), "ti": key(task)}
        if deed == "history":
            row = self._archived[task]
            moved = self._archived[task] = {**row, "state": state}
            self._add("ti", op="update", old=row, new=moved, **same)
            return
        old = self._rows.pop(task)
        if state == "up_for_retry" and process == "api-server":
            set_first = {**old, "state": state}
            self._add("ti", op="update", old=old, new=set_first, **same)
            old = set_first
        ended = old["state"] if old["state"] in ("success", "skipped") else "failed"
        reason = "retry" if deed == "archive" else "superseded"
        gone = {**old, "state": ended, "archived": True, "archived_reason": reason}
        self._archived[task] = gone
        self._add("ti", op="update", old=old, new=gone, **same)
        if deed == "archive":
            number = old["try_number"] + 1
            heir = {**old, "id": f"id-{task}-{number}", "try_number": number}
            self._add("ti", op="insert", old=None, new=heir, **same)
            made = self._rows[task] = {
                **heir,
                "state": None if state == "none" else state,
                "queued_by_job_id": None,
            }
            if made != heir:
                self._add("ti", op="update", old=heir, new=made, **same)

    def _pod(self, name: str, common: Line, rest: list[str]) -> None:
        op = "modified" if name in self._pods else "added"
        self._pods.add(name)
        if rest[0] == "gone":
            op, rest = "deleted", ["Running"]
        state: Line = {"phase": rest[0], "exit_code": SUCCESSES.get(rest[0])}
        if "base" in rest:
            state["exit_code"] = int(rest[rest.index("base") + 1])
        if "owner" in rest:
            state["owner"] = rest[rest.index("owner") + 1]
        self._add("pod", op=op, name=name, **common, **state, deleting="deleting" in rest)

    def _worker(self, name: str, common: Line, rest: list[str]) -> None:
        refused = None
        if rest[0] == "refused":
            refused = {"status": int(rest[1]), "reason": rest[2]}
            refused["previous_state"] = rest[3] if len(rest) > 3 else None
        code = 1 if refused else int(rest[1])
        self._add("worker", pod=name, **common, exit_code=code, refused=refused)

    def _next(self) -> int:
        self._xid += not self._same
        return self._xid


def _of_a_try(words: list[str]) -> tuple[str, Line, list[str]]:
    name, _, task, _, attempt, *rest = words
    return name, {"uid": f"uid-{name}", "ti": key(task), "try_number": int(attempt)}, rest


def key(task: str) -> Line:
    """Read `start[2]@r2`; without a run it is r1's."""
    match = re.fullmatch(r"(?P<task>[\w.]+)(\[(?P<index>\d+)\])?(@(?P<run>\w+))?", task)
    assert match, task
    index = int(match["index"] or -1)
    return {"dag_id": "d", "run_id": match["run"] or "r1", "task_id": match["task"]} | (
        {"map_index": index} if index >= 0 else {}
    )


def tellings(tale: str) -> dict[str, str]:
    """Return each history of a file of tales by its name."""
    told: dict[str, str] = {}
    for part in re.split(r"^== ", tale, flags=re.MULTILINE)[1:]:
        name, *lines = [line for line in part.splitlines() if line.strip()]
        telling, end = Telling(name), None
        for line in lines:
            if line.split()[1:] == ["end"]:
                end = line
            elif not line.lstrip().startswith("#"):
                telling.tell(line)
        telling.end(end)
        told[name] = "".join(json.dumps(line) + "\n" for line in telling.lines)
    return told


def _written() -> Path:
    """Write all histories into a folder that goes with the process."""
    folder = Path(tempfile.mkdtemp(prefix="ha-chaos-histories-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    for tales in TALES.glob("*.tale"):
        (folder / tales.stem).mkdir()
        for name, text in tellings(tales.read_text()).items():
            (folder / tales.stem / f"{name}.ndjson").write_text(text)
    return folder


HISTORIES = _written()
