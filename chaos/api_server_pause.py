"""An API server that stops in its tracks: a long garbage collection, a throttled pod."""

from dataclasses import dataclass

from chaos.process_pause import ProcessPause


@dataclass(frozen=True)
class ApiServerPause(ProcessPause):
    """Freezes the API server (SIGSTOP); its connections, to workers too, stay as they are.

    worker      --- state success -->      (waits, and asks again)      --> 204, or 409
    API server  --------------------|  frozen                |-- does what it was asked
    """

    process: str = "api-server"

    name = "api-server-pause"
