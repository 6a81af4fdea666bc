"""A scheduler that dies without a word."""

from dataclasses import dataclass

from chaos.process_kill import ProcessKill


@dataclass(frozen=True)
class SchedulerKill(ProcessKill):
    """Kills one scheduler (SIGKILL); another is started in its place when the fault is healed.

        scheduler-1  ------------------ adopts what is left ------------->
        scheduler-2  ---X  (its row in `job` says "running")   |-- new -->
                     killed                                  healed

    Its locks go with its connections; what it had queued is an orphan until a scheduler sees that
    its heartbeat stopped.
    """

    name = "scheduler-kill"
