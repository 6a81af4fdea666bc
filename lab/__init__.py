"""Labs: a running Airflow under test, of the kind that `--lab` names.

A test asks the `pool` for a lab of a `spec`; `life` starts a `supervisor`, a process of its own
that boots the lab as its kind does (`kinds` names them: embedded, kind, cluster) and writes its
`state` into the lab's folder. Whoever opens that folder holds a `supervised.SupervisedLab`, which
is a `base.Lab`: what faults and the recorder speak to, whatever the kind. How labs end is in
`ending`; what they change outside their own processes is written into their `undo` list before it
is done. `api` is Airflow's REST API, `ready` what its API and its tables say of how far it is.

Imports run one way: this root, then kubeapi, kubelet, dbproxy and environments, which know no lab,
then the kinds, that are made of these.
"""
