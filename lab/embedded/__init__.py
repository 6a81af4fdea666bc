"""The embedded lab: everything on this machine, without containers.

    boot --> Postgres from a migrated template --> dbproxy --> Airflow's daemons
         '-> kubeapi, or etcd and kube-apiserver (envtest) <-- executor, kubelet --> workers

`boot` starts the parts, each as `components` says, and keeps their ledger; what a test sees of them
is `lab.EmbeddedLab`.
"""
