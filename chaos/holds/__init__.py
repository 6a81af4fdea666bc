"""Holds: a process is kept inside a statement, between its snapshot and its row locks.

`installer` puts the machinery of `statement.sql` into Airflow's database and takes it out; a
`Rule` is one process' statement and the connection that keeps the rule in force, so that it dies
with whoever made it; a `Hold` is a rule that keeps a process there until it is released (and
`chaos.statement_delay` one that only makes it late). `rule.STATEMENTS` are the statements that
have a name.
"""
