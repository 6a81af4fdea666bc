"""What labs on any Kubernetes cluster share, whoever made the cluster.

`client` makes the official client, and bare connections from its configuration. On those stand the
streams: `channels` (numbered byte streams in a websocket), and with them `execs` (commands and
signals in a container) and `portforward`; `logs` follows logs into files. `pods` reads what a
process is from its pod, `readiness` why a deployment is not ready. `boot` and `release` are what
the boots and the labs have in common whose Airflow is a release of the chart.
"""
