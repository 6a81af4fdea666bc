"""A kind cluster: made once, by whoever comes first, and shared by all.

Its kubeconfig is a file of ours; the user's own is never touched. A cluster that the user made is
used as it is; one that we made and that does not run any more is made anew.
"""

import json
import logging
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path
from typing import Any

import docker
import urllib3
import yaml
from docker.errors import DockerException
from docker.models.containers import Container
from kubernetes import client, config
from kubernetes.client.exceptions import ApiException

from common.documents import yaml_problem
from common.errors import UserError
from common.files import alone, write_whole
from common.waiting import Deadline, Every
from lab.kind.lease import cluster_dir, exclusive, shared
from lab.kind.tools import engine, find, run

log = logging.getLogger(__name__)

_CREATE_LIMIT = 900.0
_READY_LIMIT = 240.0
_MAKE_LIMIT = _CREATE_LIMIT + _READY_LIMIT
_STEP = 0.1
_BEAT = 15.0
_LABEL = "io.x-k8s.kind.cluster"

# What made.json holds while kind is at work; then, the containers of the cluster that it made.
_HALF: list[str] = []


class Cluster:
    """The kind cluster of a name; several processes may ask for it at once."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.directory = cluster_dir(name)
        self.kubeconfig = self.directory / "kubeconfig"
        self._made = self.directory / "made.json"

    def ensure(
        self, image: str | None = None, nodes: int | None = None, settings: Path | None = None
    ) -> Path:
        """Have the cluster up, its nodes Ready; return its kubeconfig.

        `image` is the nodes' (kind's own if None); `nodes` counts the control plane too (None: as
        many as there are, else one); `settings` is a kind configuration, read only when the cluster
        is made. Raises UserError when one of that name is otherwise, or does not come up. Call it
        before you lease the cluster.
        """
        with self.alone("making", _MAKE_LIMIT), shared(self.name):
            found = self.nodes()
            if found and self._abandoned(found):
                log.info("The kind cluster %s does not run; making it anew.", self.name)
                self._delete()
                found = []
            if found:
                _check(self.name, found, image, nodes)
                self._unpause(found)
                self._export()
            else:
                self._create(image, configuration(nodes, settings))
            self._wait_ready()
        return self.kubeconfig

    def nodes(self) -> list[Container]:
        """Return the containers of its nodes by name, also those that do not run."""
        with _client() as connected:
            found = connected.containers.list(all=True, filters={"label": f"{_LABEL}={self.name}"})
            return sorted(found, key=lambda each: str(each.name))

    def alone(self, doing: str, limit: float) -> AbstractContextManager[None]:
        """Be the only process that is `doing` something to the cluster, for `limit` seconds."""
        lock = self.directory / f"{doing.split()[0]}.lock"
        return alone(lock, f"{doing} the kind cluster {self.name}", limit)

    def delete(self, timeout: float = 600.0) -> None:
        """Delete the cluster, once nobody uses it; does nothing where there is none."""
        with self.alone("making", _MAKE_LIMIT), exclusive(self.name, timeout):
            if self.nodes():
                log.info("Deleting the kind cluster %s.", self.name)
                self._delete()
            self._made.unlink(missing_ok=True)
            self.kubeconfig.unlink(missing_ok=True)

    def _abandoned(self, found: list[Container]) -> bool:
        """Tell whether to make it anew; UserError where it is the user's and does not run."""
        stopped = [each for each in found if each.status not in ("running", "paused")]
        still = [f"{each.name} is {each.status}" for each in stopped]
        made = json.loads(self._made.read_text()) if self._made.exists() else None
        if made == _HALF:
            return True
        if still and made != _node_ids(found):
            raise UserError(
                f"The kind cluster {self.name} does not run: {', '.join(still)}.",
                "`docker start` its nodes, make it anew with --kind-delete, or use another "
                "--kind-name.",
            )
        return bool(still)

    def _unpause(self, found: list[Container]) -> None:
        """Let nodes go on that a dead test froze: one that lived would have the lease alone."""
        for each in found:
            if each.status == "paused":
                log.info("The node %s was left frozen; it goes on.", each.name)
                each.unpause()

    def _create(self, image: str | None, configuration: dict[str, Any]) -> None:
        log.info("Making the kind cluster %s (a minute or two, once).", self.name)
        begun = time.monotonic()
        path = self.directory / "kind.yaml"
        path.write_text(yaml.safe_dump(configuration))
        argv = [str(find("kind")), "create", "cluster", "--name", self.name]
        argv += ["--config", str(path), "--kubeconfig", str(self.kubeconfig)]
        argv += ["--image", image] if image else []
        self._made.write_text(json.dumps(_HALF))
        self.kubeconfig.unlink(missing_ok=True)
        try:
            run(argv, limit=_CREATE_LIMIT, progress=_log_step)
        except UserError as error:
            raise UserError(
                f"The kind cluster {self.name} could not be made: {error.message}",
                "Where the node image cannot be pulled, name one you have with --kind-image.",
            ) from error
        self._made.write_text(json.dumps(_node_ids(self.nodes())))
        self.kubeconfig.chmod(0o600)
        log.info("The kind cluster %s: made in %.0f s.", self.name, time.monotonic() - begun)

    def _export(self) -> None:
        text = run([find("kind"), "get", "kubeconfig", "--name", self.name], limit=60)
        write_whole(self.kubeconfig, text, mode=0o600)

    def _delete(self) -> None:
        kubeconfig = str(self.kubeconfig)
        argv = ["delete", "cluster", "--name", self.name, "--kubeconfig", kubeconfig]
        run([find("kind"), *argv], limit=300)

    def _wait_ready(self) -> None:
        deadline, progress = Deadline(_READY_LIMIT), Every(_BEAT)
        while reason := _unready(self.kubeconfig):
            if deadline.passed:
                raise UserError(
                    f"The kind cluster {self.name} is not ready after {_READY_LIMIT:.0f} s: "
                    f"{reason}.",
                    "Make it anew with --kind-delete, or use another --kind-name.",
                )
            if progress.due():
                log.info("Waiting for the kind cluster %s: %s.", self.name, reason)
            time.sleep(_STEP)


@contextmanager
def _client() -> Iterator[docker.DockerClient]:
    try:
        with closing(engine()) as connected:
            yield connected
    except DockerException as error:
        raise UserError(f"The Docker engine refuses: {error}") from error


def _node_ids(nodes: list[Container]) -> list[str]:
    return [str(each.id) for each in nodes]


def _check(name: str, found: list[Container], image: str | None, nodes: int | None) -> None:
    """Raise UserError where a cluster is not the one that is asked for."""
    otherwise = "Make it anew with --kind-delete, or use another --kind-name."
    if nodes is not None and nodes != len(found):
        many = f"{len(found)} node{'s' if len(found) > 1 else ''}"
        raise UserError(f"The kind cluster {name} is there with {many}, not {nodes}.", otherwise)
    has = {str(each.attrs["Config"]["Image"]) for each in found}
    # kind names its own images by tag and digest; the tag alone means the same.
    if image is not None and any(image not in (each, each.split("@")[0]) for each in has):
        raise UserError(
            f"The kind cluster {name} is there with nodes of {', '.join(sorted(has))}, "
            f"not {image}.",
            otherwise,
        )


def configuration(nodes: int | None, settings: Path | None) -> dict[str, Any]:
    """Return kind's configuration: the user's, with workers added until there are `nodes`."""
    found: Any = {"kind": "Cluster", "apiVersion": "kind.x-k8s.io/v1alpha4"}
    if settings is not None:
        try:
            found = yaml.safe_load(settings.read_text())
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"--kind-config {settings} cannot be read: {error}.") from error
        except yaml.YAMLError as error:
            why = yaml_problem(error)
            raise UserError(f"--kind-config {settings} is not valid YAML: {why}.") from None
        if not isinstance(found, dict) or found.get("kind") != "Cluster":
            raise UserError(
                f"--kind-config {settings} is not a configuration of a kind cluster.",
                "It begins with `kind: Cluster`: kind.sigs.k8s.io/docs/user/configuration.",
            )
    listed = list(found.get("nodes") or [{"role": "control-plane"}])
    if nodes is not None:
        if nodes < len(listed):
            raise UserError(f"--kind-nodes {nodes}, but --kind-config lists {len(listed)} nodes.")
        listed += [{"role": "worker"} for _ in range(nodes - len(listed))]
    return {**found, "nodes": listed}


def _log_step(line: str) -> None:
    """Log a step that kind has finished: it marks those with a tick."""
    step = line.strip()
    if step.startswith("✓"):
        words = step.removeprefix("✓").split()
        log.info("kind: %s", " ".join(word for word in words if word.isascii()))


def _unready(kubeconfig: Path) -> str:
    """Return why the cluster cannot be used yet, empty when it can."""
    settings = client.Configuration()
    settings.retries = False
    config.load_kube_config(str(kubeconfig), client_configuration=settings)
    try:
        with client.ApiClient(settings) as connected:
            nodes = client.CoreV1Api(connected).list_node(_request_timeout=5).items
    except (ApiException, urllib3.exceptions.HTTPError, OSError) as error:
        return f"its API server does not answer ({type(error).__name__})"
    for node in nodes:
        ready = next((each for each in node.status.conditions or () if each.type == "Ready"), None)
        if ready is None or ready.status != "True":
            return f"node {node.metadata.name} is not Ready ({ready.message if ready else 'new'})"
    return "" if nodes else "it has no nodes yet"
