"""Versions of Airflow against scenarios: reproduced, clean, unconfirmed, or not applicable.

`table` sorts the trials of all runs by environment and question, `cells` judges those of a pair,
`model` holds the whole and draws it, `notes` adds what has no room in it.
"""
