"""The lab's kubelet: a plain client of any Kubernetes API that runs a namespace's pods.

It is scheduler and node agent in one: it binds unbound pods to its node, runs their container and
reports what a kubelet reports. What it runs them as is the mode's business: a process of its own
(`process`), a fork of a pre-imported worker (`fork`), or no process at all (`simulated`).

Only what worker pods need is there: one container, run once (restartPolicy Never), environment by
value or by field of the pod. A pod that wants more waits as CreateContainerConfigError, as it
would wait on a node for a missing ConfigMap, and its message says what is not supported.

`kubelet` follows the pods through `api` and takes each to its end; what runs them is a `launcher`,
which starts processes and forks through the `forkserver` (standard library only: it runs in
Airflow's Python), or a simulation. `pods` is what is read of a pod, `status` what is reported.
"""
