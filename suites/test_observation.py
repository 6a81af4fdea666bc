"""Does a deployment keep Airflow's promises while nobody disturbs it?

Run by `pytest suites/ --lab cluster --namespace N --observe`; deselected otherwise.
"""

from harness.observe import Observation


def test_observation(observation: Observation) -> None:
    """Whatever its users and their DAGs do meanwhile is recorded, and judged by every promise."""
    observation.watch()
