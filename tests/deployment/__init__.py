"""A deployment to try on: what `--lab cluster` attaches to, without a cluster, made in a second.

    standin    a Kubernetes API that holds what a test says: list, get and watch, logs,
               port-forwards to a chosen local port, 403 for what is denied, a token, TLS
    release    manifests as the official chart makes them of a release, with whatever is particular
    airflow    what is behind it: a real PostgreSQL with Airflow's tables, rows that are played,
               an API that says its version; port-forwards of the stand-in lead to them

`python -m tests.deployment [FILE.yaml ..]` serves one by hand.
"""
