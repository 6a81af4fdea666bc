"""A lab on a kind cluster: our own release of Airflow's Helm chart, in a namespace of its own.

`provision` finds or makes what all labs of a session share: the programs (`tools`), the cluster
(`cluster`), the images on its nodes (`images`) and the chart (`helm.chart`). Before that it has the
values looked through (`helm.own`, `helm.rendered`). `boot` then fills a namespace (`namespace`:
Postgres, the proxy, DAGs, secrets), merges the chart's values
(`helm.values`), has helm install them (`helm.install`) and waits for the pods. What runs is a
`lab.KindLab`: its processes are pods, and what kills, freezes or slows them goes through the nodes,
which are containers (`node`). Who may use the cluster, with others or alone, is a `lease`.
"""
