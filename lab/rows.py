"""Which rows of Airflow's `task_instance` are the present try: SQL that serves every release.

Since 3.4 a try is a row: the ones before stay in the table, archived, with `working_set` NULL
(in the present one it is true). Before, the column is not there. Read from
`airflow/models/taskinstance.py` of apache-airflow-core 3.3.2 and 3.4.0b2.
"""

PRESENT = """NOT to_jsonb(task_instance) @> '{"working_set": null}'"""
"""A condition on a scan of `task_instance`: it names no column, so it holds on both models."""
