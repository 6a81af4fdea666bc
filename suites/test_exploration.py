"""Does any order of the statements that schedulers and the API server send break a promise?"""

import pytest

from harness.exploration import Exploration


@pytest.mark.explore("defaults")
def test_explored_by_default(exploration: Exploration) -> None:
    """Schedulers that take as many runs and tasks a loop as Airflow has by default."""
    exploration.explore()


@pytest.mark.depth("nightly")
@pytest.mark.explore("run-a-loop")
def test_explored_run_by_run(exploration: Exploration) -> None:
    """Schedulers that begin one run a loop, so that both have some."""
    exploration.explore()


@pytest.mark.depth("nightly")
@pytest.mark.explore("task-a-loop")
def test_explored_task_by_task(exploration: Exploration) -> None:
    """Schedulers that queue one task a loop, so that both have some."""
    exploration.explore()
