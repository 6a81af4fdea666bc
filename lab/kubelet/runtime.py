"""What runs a container, whatever it is run as."""

from typing import Protocol

from lab.kubelet.pods import Command


class StartError(Exception):
    """The command could not be executed; the text says why, as a container runtime would."""


class Container(Protocol):
    """One container that was started."""

    async def wait(self) -> int:
        """Return the exit code once the container ended: 128 + n if signal n ended it."""
        ...

    def signal(self, number: int) -> None:
        """Signal the container's processes; nothing happens when it has ended."""
        ...


class Runtime(Protocol):
    """Starts containers."""

    async def open(self) -> None:
        """Make ready; raises UserError where that cannot be."""
        ...

    async def start(self, command: Command) -> Container:
        """Start a command; raises StartError if it cannot be executed."""
        ...

    async def broken(self) -> None:
        """Wait until this runtime can serve no longer, and raise UserError saying so."""
        ...

    async def close(self) -> None:
        """End all containers at once, and what started them."""
        ...
