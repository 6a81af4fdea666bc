"""A lab that is somebody else's deployment of Airflow's chart: found, used, and left as it was.

`discovery` reads from its namespace what it is made of, `database` where its metadata is and by
what route it is reached, `identity` who is behind a database session; `plan` says all of that, and
what will be done, before anything is. `boot` opens the tunnels, and a `lab.ClusterLab` uses them.
Who puts something into the database first says by `ClusterLab.undo_in_database` how it is taken
out; `undo` does that, also when lab, tunnel and password are gone.
"""
