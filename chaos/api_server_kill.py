"""An API server that dies without a word."""

from dataclasses import dataclass

from chaos.process_kill import ProcessKill


@dataclass(frozen=True)
class ApiServerKill(ProcessKill):
    """Kills the API server (SIGKILL); another is started in its place when the fault is healed.

        worker      --- state success -->  X  refused, again after a pause, again ... --> done
        API server  ----------------------X                          |-- new ---------->

    What it had in hand is rolled back. Workers try each request five times, over 1 s to 90 s
    (`[workers] execution_api_retries`), and give up then.
    """

    process: str = "api-server"

    name = "api-server-kill"
