"""Holds: a process is kept at a point, inside a statement or at its commit.

`points` says where a process can be held, and has Airflow's statements by name; `installer` puts
the machinery of `rules.sql` into Airflow's database and takes it out; a `Rule` is one process at
one point and the connection that keeps the rule in force, so that it dies with whoever made it; a
`Hold` is a rule that keeps a process there until it is released (and `chaos.statement_delay` one
that only makes it late).
"""
