"""Images on the nodes of a kind cluster, from the local engine, which may pull them first."""

import logging
import time
from contextlib import closing

import docker
from docker.auth import INDEX_NAME, resolve_repository_name
from docker.errors import APIError, DockerException, ImageNotFound
from docker.utils import parse_repository_tag

from common.errors import UserError
from common.waiting import Every
from lab.kind.cluster import Cluster
from lab.kind.node import Node
from lab.kind.tools import engine, find, run

log = logging.getLogger(__name__)

_LIMIT = 1800.0
_BEAT = 10.0


def load(cluster: Cluster, image: str) -> None:
    """Have `image` on every node of a cluster, loaded once by whoever comes first.

    It is there when the nodes have it under that name and, if the local engine has one too, it is
    that one: a rebuilt image is loaded anew. Raises UserError when no node has it, nor the engine,
    and it cannot be pulled.
    """
    with cluster.alone("loading images onto", _LIMIT):
        with closing(engine()) as client:
            local = _local(client, image)
            nodes = [str(each.name) for each in cluster.nodes()]
            if all(has_image(listing(Node(name)), image, local) for name in nodes):
                return
            if local is None:
                _pull(client, image)
        log.info("Loading %s onto the kind cluster %s.", image, cluster.name)
        begun = time.monotonic()
        argv = ["load", "docker-image", "--name", cluster.name, image]
        run([find("kind"), *argv], limit=_LIMIT)
        log.info("Loaded %s in %.0f s.", image, time.monotonic() - begun)


def listing(node: Node) -> dict[str, str]:
    """Return the digest of every image on a node, by reference.

    containerd's CRI also refers to each image by the digest of its configuration, `sha256:..`,
    which is what Docker calls its ID.
    """
    lines = node.run(["ctr", "-n", "k8s.io", "images", "ls"]).splitlines()[1:]
    rows = (line.split() for line in lines)
    return {row[0]: row[2] for row in rows if len(row) > 2}


def has_image(images: dict[str, str], name: str, local: str | None) -> bool:
    """Tell whether a node has an image of that name, and that it is `local` (Docker's ID).

    Docker's ID is the configuration's digest, or the manifest's where it keeps its images in
    containerd's store.
    """
    digest = images.get(reference(name))
    return digest is not None and (local is None or local == digest or images.get(local) == digest)


def digest(images: dict[str, str], name: str) -> str:
    """Return the digest of a node's image of that name, empty without one.

    Of its configuration if the node tells it: a manifest is written anew each time an image is
    loaded, in whatever way the engine packs the layers.
    """
    manifest = images.get(reference(name), "")
    same = [each for each, of in images.items() if of == manifest and each.startswith("sha256:")]
    return min(same, default=manifest)


def reference(name: str) -> str:
    """Return an image's name in full, as containerd keeps it: `postgres:15` is Docker Hub's."""
    repository, tag = parse_repository_tag(name)
    host, path = resolve_repository_name(repository)
    library = "library/" if host == INDEX_NAME and "/" not in path else ""
    mark = "@" if "@" in name else ":"
    return f"{host}/{library}{path}{mark}{tag or 'latest'}"


def _local(client: docker.DockerClient, image: str) -> str | None:
    try:
        return str(client.images.get(image).id)
    except ImageNotFound:
        return None
    except (DockerException, OSError) as error:
        raise UserError(f"The Docker engine cannot look for {image}: {error}.") from error


def _pull(client: docker.DockerClient, image: str) -> None:
    log.info("Pulling %s.", image)
    begun, progress = time.monotonic(), Every(_BEAT)
    failure = ""
    try:
        for step in client.api.pull(image, stream=True, decode=True):
            failure = step.get("error", failure)
            if progress.due():
                log.info("Pulling %s: %s.", image, str(step.get("status", "")).lower())
    except APIError as error:
        failure = str(error.explanation or error)
    except (DockerException, OSError) as error:
        failure = str(error)
    if failure:
        raise UserError(
            f"The image {image} is neither on the nodes nor in the local Docker engine, and cannot "
            f"be pulled: {' '.join(failure.split()).rstrip('.')}.",
            "Check its name and the network, or `docker pull` or build it where a registry answers "
            "and `docker load` it here.",
        )
    log.info("Pulled %s in %.0f s.", image, time.monotonic() - begun)
