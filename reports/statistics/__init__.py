"""What figures can be trusted to say: exact intervals, sequential tests, comparisons, ratios.

Numbers in, numbers and words out: nothing here knows of runs, tests or Airflow.
scipy.stats is imported where it is used: it takes a second, and every pytest process would wait.
"""

from reports.statistics.comparison import Comparison, Outcomes, compare, compare_outcomes
from reports.statistics.rate import Bounds, Rate, percent
from reports.statistics.ratio import Interval, Statistic, bootstrap_ratio, quantile
from reports.statistics.sequential import Decision, Sequential

__all__ = [
    "Bounds",
    "Comparison",
    "Decision",
    "Interval",
    "Outcomes",
    "Rate",
    "Sequential",
    "Statistic",
    "bootstrap_ratio",
    "compare",
    "compare_outcomes",
    "percent",
    "quantile",
]
