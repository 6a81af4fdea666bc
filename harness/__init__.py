"""The pytest plugin: what makes `pytest suites/` a question put to an Airflow.

plugin.py declares options (options*.py) and fixtures; a `Session` is what its processes share. What
is missing for every test is a usage error before the first one (preflight.py). For each test a lab
is leased (labs.py, markers.py), a `Run` records it (run/), and the test floods it (flood.py),
disturbs it (faults.py), performs a scenario or only looks on (observe.py). When its function
returns, judging.py has the stored history read once, writes the verdict down, and settles the
outcome (outcome.py). results.py and evidence.py complete Allure's result, with the timeline;
register.py keeps session.json; summary.py and table.py end the session on the terminal, also where
it gets SIGTERM (termination.py). nightly.py, a command, prints what a night tests.
"""
