"""The dashboard: which Airflow versions are safe to run with several schedulers, and why.

One folder of static pages that open from a disk, built from a shelf of runs.
"""

from reports.dashboard.assembly import build

__all__ = ["build"]
