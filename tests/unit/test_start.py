"""What every session or lab imports before it does anything stays small."""

import subprocess
import sys

import pytest

from common.paths import PROJECT

HEAVY = ("kubernetes.client.models.", "bokeh.", "matplotlib.", "scipy.", "locust.", "numpy.")
"""What takes half a second and more to import, and few need."""


@pytest.mark.parametrize("module", ["harness.plugin", "lab.supervisor", "lab.embedded.boot"])
def test_a_start_does_not_wait_for_what_few_need(module: str) -> None:
    code = f"import sys, {module}; print(*sys.modules, sep='\\n')"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True, check=True
    )
    imported = done.stdout.split()
    assert module in imported
    assert [name for name in imported if name.startswith(HEAVY)] == []
