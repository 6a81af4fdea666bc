"""The questions asked of a release: `pytest suites/ --airflow 3.3.2`. No machinery.

A test is three lines: it floods a lab (`flood`), has a fault bite that its marker declares
(`faults`), or performs a scenario of `scenarios/*.yaml`. What happened is recorded meanwhile, and
judged when the test's function has returned: a broken promise fails the test.
"""
