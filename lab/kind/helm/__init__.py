"""Airflow's Helm chart: which one (`chart`), with what values (`values`), installed (`install`).

A user's own values are read (`files`), held against what the chart knows (`unknown`) and what is
the lab's to say (`claims`), and merged over the lab's (`own`). What the chart then makes of them
must still be the lab (`rendered`).
"""
