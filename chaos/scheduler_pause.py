"""A scheduler that stops in its tracks."""

from dataclasses import dataclass

from chaos.process_pause import ProcessPause


@dataclass(frozen=True)
class SchedulerPause(ProcessPause):
    """Freezes one scheduler (SIGSTOP); its connections and locks stay as they are.

        scheduler-1  --------- takes over what scheduler-2 left ------------------->
        scheduler-2  ---|  frozen                              |-- goes on, knows of nothing
                        |<- scheduler_health_check_threshold ->|

    Frozen for `seconds` at least; once that is over scheduler_health_check_threshold (30 s by
    default) the others hold it for dead, and it is not.
    """

    name = "scheduler-pause"
