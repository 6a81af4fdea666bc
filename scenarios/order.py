"""The order of a permutation's steps: what ends, heals or waits for needs a step that began it."""

from collections.abc import Callable, Iterable, Mapping

from dags.shapes import Shape
from scenarios.steps import Step
from scenarios.words import known

_ENDS_A_HOLD = "release"
_OF_A_HOLD = ("held", "pass", "cancel", "terminate", _ENDS_A_HOLD)


def check_order(
    steps: Iterable[Step], sessions: Mapping[str, str], dags: Mapping[str, Shape]
) -> None:
    """Raise ValueError for a step that no step before it has made possible."""
    walk = _Walk(sessions, dags)
    for step in steps:
        walk.do(step)


class _Walk:
    """What has begun and not ended, step by step.

    A hold is of a session, and outlives the process: it is released also after a kill. A pause and
    a kill are of the process, whichever of its sessions they are told by.
    """

    def __init__(self, sessions: Mapping[str, str], dags: Mapping[str, Shape]) -> None:
        self._sessions = sessions
        self._dags = dags
        self._holds: set[str] = set()
        self._paused: set[str] = set()
        self._killed: set[str] = set()
        self._faults: set[tuple[str, str | None]] = set()
        self._runs: dict[str, str] = {}
        self._paused_dags: set[str] = set()

    def do(self, step: Step) -> None:
        """Take one step; ValueError where it cannot be taken now."""
        verb, on = step.verb, step.options.get("on")
        if verb == "hold":
            self._hold(step)
        elif verb in _OF_A_HOLD:
            self._of_a_hold(step)
        elif verb in ("pause", "freeze"):
            self._paused.add(self._process(step))
        elif verb == "resume":
            self._end(step, self._paused, "resumes whom no step before it has paused", "Pause")
        elif verb == "kill":
            self._killed.add(self._process(step))
        elif verb == "start":
            self._end(step, self._killed, "starts whom no step before it has killed", "Kill")
        elif verb == "fault":
            self._faults.add((step.target.name, on))
        elif verb == "heal":
            if (step.target, on) not in self._faults:
                raise ValueError(f"step {step.name!r} heals what no step before it has begun")
            self._faults.discard((step.target, on))
        else:
            self._of_a_run(step)

    def _process(self, step: Step) -> str:
        """Return the process of a session."""
        return self._sessions[step.target]

    def _hold(self, step: Step) -> None:
        if step.target in self._holds:
            raise ValueError(
                f"step {step.name!r} holds {step.target}, which a step before it holds already:"
                " release it first, or name another session of the process"
            )
        self._holds.add(step.target)

    def _of_a_hold(self, step: Step) -> None:
        if step.target not in self._holds:
            raise ValueError(
                f"step {step.name!r}: no step before it holds {step.target}"
                f" (or it is released by then); write one with `hold: {step.target}`"
            )
        if step.verb == _ENDS_A_HOLD:
            self._holds.discard(step.target)

    def _end(self, step: Step, begun: set[str], complaint: str, remedy: str) -> None:
        process = self._process(step)
        if process not in begun:
            raise ValueError(
                f"step {step.name!r} {complaint}; {remedy.lower()} {step.target} first"
            )
        begun.discard(process)

    def _of_a_run(self, step: Step) -> None:
        checks: Mapping[str, Callable[[Step], None]] = {
            "trigger": self._trigger,
            "until": self._until,
            "clear": self._task,
            "mark": self._task,
            "mark-run": self._whole_run,
            "delete-run": self._delete_run,
            "pause-dag": self._pause_dag,
            "drain-dag": self._pause_dag,
            "unpause-dag": self._unpause_dag,
            "settle": self._settle,
        }
        if step.verb in checks:
            checks[step.verb](step)

    def _trigger(self, step: Step) -> None:
        name = step.options.get("as", "")
        if name == "all":
            raise ValueError(f"step {step.name!r}: `all` are all runs; give it another name")
        if name in self._runs:
            which = f"the name {name} a second time" if name else "a second run without a name"
            raise ValueError(f"step {step.name!r} gives {which}; write another (`as: second`)")
        self._runs[name] = step.target

    def _run(self, step: Step, name: str) -> str:
        """Return the DAG of a run that has begun."""
        if not name and "" not in self._runs:
            some = " (`of:` says which of those with a name)" if self._runs else ""
            raise ValueError(
                f"step {step.name!r} is about a run, and no step before it triggers one{some}"
            )
        named = {each: dag for each, dag in self._runs.items() if each or not name}
        return known(name, named, f"step {step.name!r} is about a run that has not begun")

    def _until(self, step: Step) -> None:
        of = step.target.get("of", "")
        if "dag" in step.target:
            return
        if of != "all":
            self._check_task(step, self._run(step, of), step.target.get("task"))
        elif not self._runs:
            raise ValueError(
                f"step {step.name!r} is about runs, and no step before it triggers one"
            )

    def _task(self, step: Step) -> None:
        self._check_task(step, self._run(step, step.options.get("of", "")), step.target)

    def _whole_run(self, step: Step) -> None:
        self._run(step, step.options.get("of", ""))

    def _delete_run(self, step: Step) -> None:
        name = step.options.get("of", "")
        if (dag := self._run(step, name)) != step.target:
            which = f"the run {name}" if name else "the run without a name"
            raise ValueError(f"step {step.name!r} deletes {which} of {step.target}; it is of {dag}")
        del self._runs[name]

    def _pause_dag(self, step: Step) -> None:
        self._paused_dags.add(step.target)

    def _unpause_dag(self, step: Step) -> None:
        if step.target not in self._paused_dags:
            raise ValueError(
                f"step {step.name!r} unpauses {step.target}, which no step before it has paused;"
                f" write one with `pause-dag: {step.target}`"
            )
        self._paused_dags.discard(step.target)

    def _check_task(self, step: Step, dag: str, task: str | None) -> None:
        if task is not None:
            tasks = {node.task_id: node for node in self._dags[dag].nodes}
            known(task, tasks, f"step {step.name!r}: {dag} has no such task")

    def _settle(self, step: Step) -> None:
        if not self._runs:
            raise ValueError(
                f"step {step.name!r} waits for the end of all runs, and no step before it triggers"
                " one; write `wait: SECONDS`"
            )
