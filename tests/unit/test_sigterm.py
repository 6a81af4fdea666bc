"""SIGTERM is taken for Ctrl-C, once, and by whoever takes Ctrl-C then."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest

from harness.termination import Termination


@pytest.fixture
def termination() -> Iterator[Termination]:
    """Have this process ready; afterwards it takes its signals as before."""
    before = {each: signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)}
    made = Termination()
    made.begin()
    yield made
    made.end()
    assert signal.getsignal(signal.SIGTERM) is before[signal.SIGTERM]
    for number, handler in before.items():
        signal.signal(number, handler)


def terminate() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


@pytest.mark.usefixtures("termination")
def test_the_first_one_interrupts_and_no_other() -> None:
    with pytest.raises(KeyboardInterrupt):
        terminate()
    terminate()


@pytest.mark.usefixtures("termination")
def test_it_interrupts_also_where_ctrl_c_is_ignored() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with pytest.raises(KeyboardInterrupt):
        terminate()


@pytest.mark.usefixtures("termination")
def test_who_takes_ctrl_c_for_something_else_takes_this_for_it() -> None:
    """An observation ends by it, and is judged."""
    seen: list[int] = []
    signal.signal(signal.SIGINT, lambda number, _: seen.append(number))
    terminate()
    assert seen == [signal.SIGINT]


def test_another_thread_than_the_main_one_has_no_signals() -> None:
    before = signal.getsignal(signal.SIGTERM)
    other = threading.Thread(target=Termination().begin)
    other.start()
    other.join()
    assert signal.getsignal(signal.SIGTERM) is before


def test_it_reaches_whom_a_terminals_ctrl_c_reaches(termination: Termination) -> None:
    """That is the process group; what leads a session of its own, as all of a lab, is not told."""
    sleep = [sys.executable, "-c", "import time; time.sleep(60)"]
    one = subprocess.Popen(sleep)
    other = subprocess.Popen(sleep, start_new_session=True)
    try:
        termination.pytest_keyboard_interrupt()
        with pytest.raises(subprocess.TimeoutExpired):
            one.wait(0.3)  # Ctrl-C itself is passed on to nobody
        with pytest.raises(KeyboardInterrupt):
            terminate()
        termination.pytest_keyboard_interrupt()
        assert one.wait(20) == -signal.SIGTERM
        assert other.poll() is None
    finally:
        for each in (one, other):
            each.kill()
            each.wait()
