"""Writes a lab's history while it happens, for the oracle to judge.

    audit (triggers in the database) --> database --.
    watch of the worker pods ----------> pods ------+--> stream --> history.ndjson, listeners
    logs of workers that ended --------> workers ---'
    faults, holds, notes (harness) ---> Recorder.note

`recorder.Recorder` starts and ends them all, one thread each. `audit` installs the triggers of
`audit.sql` and takes them out again, behind locks that `locks` gives up rather than have anybody
wait; `tables` knows the two models that Airflow's tables have, `rows` what is written about them.
`connection` makes the connections, and `link` makes a lost one again, with another password or at
another server. While the reader lives it renews its `lease`; without that nothing is written.
`stream` puts everything into order of time, on the database's clock; `waiting` asks the database at
the end why what has not ended waits. What may have been missed is a gap, and a history with gaps
supports no verdict.
"""
