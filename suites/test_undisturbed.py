"""Does Airflow keep all its promises while nothing disturbs it?"""

import pytest

from harness.flood import Floods


@pytest.mark.flood("every")
def test_undisturbed(flood: Floods) -> None:
    """Runs of every kind of shape, done by real workers, a triggerer and two schedulers."""
    flood.run()
