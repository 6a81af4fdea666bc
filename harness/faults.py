"""The fixture `faults`: begins what a test's marker declares, or what it is given."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from chaos.base import Fault, Injection
from common.errors import UserError
from run.run import Run


class Faults:
    """Gives the faults of a test to its lab, written into its history.

        @pytest.mark.fault(LinkCut("scheduler-2", seconds=10))
        def test_link_cut(flood, faults, how):
            with flood.running(), faults(how=how):
                flood.go_on(10)

    One that is declared was asked about before there was a lab; another is asked about now, and
    the test is skipped where the lab has not what it takes.
    """

    def __init__(self, history: Run, declared: Sequence[Fault[Any]]) -> None:
        self._history = history
        self._declared = declared

    def __call__(self, fault: Fault[Any] | None = None, **changes: Any) -> Injection[Any]:
        """Return the disturbance, to be entered; `changes` are other values for its fields.

        Without a `fault` it is the one that the test's marker declares. Whether it ever strikes
        is an assumption of the verdict from now on.
        """
        fault = replace(fault or self._the_one(), **changes)
        lab = self._history.lab
        for power in fault.needs if fault not in self._declared else ():
            if reason := lab.missing(power):
                self._history.abandon()
                pytest.skip(f"{fault.name} is not available: {reason}")
        if "hold" in fault.needs:
            self._history.allow_rules()
        injection = fault.on(lab, self._history.record, self._history.seed)
        self._history.faults[injection] = False
        return injection

    def _the_one(self) -> Fault[Any]:
        if len(self._declared) != 1:
            raise UserError(
                f"The test declares {len(self._declared)} faults, so it must say which.",
                "Write @pytest.mark.fault(...), or faults(...) with a fault.",
            )
        return self._declared[0]
