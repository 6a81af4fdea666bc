"""Environments that have Airflow: from what a user gives to `--airflow` to one that starts.

`request` reads what was given: a version, a wheel, a checkout, a Python. `preparation` turns it
into a `lab.base.Airflow`: a version's exact requirements are in versions/ (`pins`) or are asked of
the package index (`releases`), a `recipe` installs them by uv (`uvtool`), a `checkout` is copied
over them, and `interpreter` starts the result once. `store` keeps what was made, and makes it again
where it no longer is what its `seal` says. `settings` is what Airflow is started with.
"""
