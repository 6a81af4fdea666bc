"""A small Kubernetes API server: enough of core/v1 to run the real KubernetesExecutor against.

It keeps pods and namespaces in memory and answers over plain HTTP with the semantics that the
executor, its watcher and a kubelet rely on: resource versions, watches, selectors, graceful
deletion and Kubernetes' own errors. `tests/contract` holds the promises, and runs them against
a real kube-apiserver too. There is no authentication, no scheduler and no controller in it.

    request --> server (routes) --> parameters, patches --> registry (pods, validation) --> store
    watch   <-- views  <-- watches, selectors  <------------- history -------------'

Each client asks under a name of its own (`kubeconfig`), by which `rules` choose whose requests and
watches are late, held, refused or lost (`disturbing`, `watches`); `control` sets the rules.
"""
