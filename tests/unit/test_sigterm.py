"""SIGTERM is taken for Ctrl-C, once, and by whoever takes Ctrl-C then."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest

from common.paths import PROJECT
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


GROUP = """
import os, signal, subprocess, sys
from harness.termination import Termination

termination = Termination()
termination.begin()
sleep = [sys.executable, "-c", "import time; time.sleep(60)"]
one = subprocess.Popen(sleep)
other = subprocess.Popen(sleep, start_new_session=True)
try:
    termination.pytest_keyboard_interrupt()
    try:
        one.wait(0.3)
    except subprocess.TimeoutExpired:
        print("Ctrl-C itself is passed on to nobody")
    try:
        os.kill(os.getpid(), signal.SIGTERM)
    except KeyboardInterrupt:
        termination.pytest_keyboard_interrupt()
    print(one.wait(60), other.poll())
finally:
    for each in (one, other):
        each.kill()
        each.wait()
"""


def test_it_reaches_whom_a_terminals_ctrl_c_reaches() -> None:
    """That is the process group; what leads a session of its own, as all of a lab, is not told.

    In a process of its own: who runs these tests has children too.
    """
    done = subprocess.run(
        [sys.executable, "-c", GROUP], cwd=PROJECT, capture_output=True, text=True, check=False
    )
    told = done.stdout.splitlines()
    assert told == ["Ctrl-C itself is passed on to nobody", f"{-signal.SIGTERM} None"], done.stderr
