"""Waiting: until something is so, no longer than a deadline, no oftener than is of use."""

import time
from collections.abc import Callable
from typing import TypeVar

import tenacity

T = TypeVar("T")


def until(ask: Callable[[], T], timeout: float, interval: float = 0.1) -> T:
    """Ask every `interval` seconds until the answer is true, for `timeout` seconds at most.

    Returns the last answer, true or not: the caller says what it means that it is not. `ask` is
    called once at least; what it raises is raised.
    """
    retrying = tenacity.Retrying(
        stop=tenacity.stop_after_delay(timeout),
        wait=tenacity.wait_fixed(interval),
        retry=tenacity.retry_if_result(lambda answer: not answer),
        retry_error_callback=_answer,
        sleep=time.sleep,
    )
    return retrying(ask)


def _answer(state: tenacity.RetryCallState) -> T:  # type: ignore[type-var]
    assert state.outcome is not None
    return state.outcome.result()  # type: ignore[no-any-return]


class Deadline:
    """A moment some seconds from now, for waits that are a loop of somebody else's."""

    def __init__(self, seconds: float) -> None:
        self._at = time.monotonic() + seconds

    @property
    def left(self) -> float:
        """Seconds until then; 0 once it has passed."""
        return max(0.0, self._at - time.monotonic())

    @property
    def passed(self) -> bool:
        """Whether that moment is over."""
        return time.monotonic() >= self._at


class Every:
    """Something worth doing at most once in so many seconds: a line of progress, a look."""

    def __init__(self, seconds: float, *, at_once: bool = False) -> None:
        self._seconds = seconds
        self._last = float("-inf") if at_once else time.monotonic()

    def due(self) -> bool:
        """Return whether it is time again; asking counts as doing it."""
        now = time.monotonic()
        if now - self._last < self._seconds:
            return False
        self._last = now
        return True
