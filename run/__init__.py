"""One test's run: the recorder and the judge at work beside a lab that somebody else leased.

A `Run` (run.py) begins with the audit in the lab's database and the recorder on it. While the test
acts, its faults, holds, notes and assumptions go into the history, daemons that end by themselves
too (ends.py), and a judge that listens live says when a promise is broken, so that a flood can
stop. The run's end stops the recorder, takes out of the database what the run put there (keeper.py
does that where the password may have expired), reads the stored history once for the judge and for
whoever goes along, and keeps the logs without secrets (logs.py, workers.py) in the test's folder
(folder.py).
"""
