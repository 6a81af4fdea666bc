"""A lab that is somebody else's deployment of Airflow's chart: found, used, and left as it was.

`discovery` reads from its namespace what it is made of, as a `container` has it. The database is
found step by step: the URL where the pods have it from (`origin`), read as they do (`url`), the way
to its hosts (`routes`), a `pooler` there, what our role may do (`grants`); `database` puts these
together. `identity` tells who is behind a database session, `rights` what RBAC denies us; `plan`
says all of that, and what will be done, before anything is. `boot` opens the tunnels, and a
`lab.ClusterLab` uses them. Who puts something into the database first says by
`ClusterLab.undo_in_database` how it is taken out; `undo` does that, also when lab, tunnel and
password are gone.
"""
