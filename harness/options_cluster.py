"""The options of `--lab cluster`: somebody else's deployment, and what is allowed there."""

import os
from dataclasses import dataclass

import pytest
import requests

from common.errors import UserError
from lab.api import AirflowAPI
from lab.cluster.database import find_database, reached
from lab.cluster.discovery import discover
from lab.cluster.plan import plan, reported_version
from lab.cluster.rights import with_rights
from lab.kube.client import api_client
from lab.kube.failures import in_words
from lab.kube.kubeconfig import default_kubeconfig, read_context, single_context
from lab.spec import Attachment
from run.keeper import try_installing

_ENDLESS = 0.0
_NEEDED = "--lab cluster"


@dataclass(frozen=True)
class ClusterOptions:
    """The deployment that was found, and the plan of what is done to it.

    `observe` is how many seconds to look on, 0 for until Ctrl-C, None for not at all.
    """

    attachment: Attachment
    version: str
    image: str
    schedulers: int
    observe: float | None
    plan: tuple[str, ...]
    build: str = ""


def add_cluster_options(parser: pytest.Parser) -> None:
    """Declare the options."""
    group = parser.getgroup("airflow-ha-chaos-cluster", "airflow-ha-chaos, with --lab cluster")
    for name, metavar, text in (
        ("--context", "C", "context in the kubeconfig (default: the current one)"),
        ("--namespace", "N", "where the release of the chart runs (default: the context's)"),
        ("--release", "R", "release to test, if the namespace has several"),
        ("--database-url", "URL", "of the metadata database, where the release's Secret will not "
         "do; better in HA_CHAOS_DATABASE_URL, since it holds a password"),
        ("--api-url", "URL", "of the API server (default: by port-forward)"),
    ):  # fmt: skip
        group.addoption(name, metavar=metavar, help=text)
    group.addoption(
        "--allow-faults",
        action="store_true",
        help="let tests disturb the deployment; without it, every test that disturbs is skipped",
    )
    group.addoption(
        "--observe",
        nargs="?",
        type=float,
        const=_ENDLESS,
        metavar="SECONDS",
        help="only watch and judge: for SECONDS, or until Ctrl-C, which gives the verdict so far",
    )


def read_cluster_options(config: pytest.Config) -> ClusterOptions | None:
    """Find the deployment; None with another lab. pytest.UsageError with one clear line."""
    observe = config.getoption("observe")
    if config.getoption("lab") != "cluster":
        for option in ("observe", "allow_faults", "context", "namespace", "release"):
            given = config.getoption(option)
            if given is not None and given is not False:
                raise pytest.UsageError(f"--{option.replace('_', '-')} is for {_NEEDED}.")
        return None
    if config.getoption("airflow"):
        raise pytest.UsageError(f"{_NEEDED} tests the Airflow that is there: leave out --airflow.")
    if observe is not None and observe < 0:
        raise pytest.UsageError("--observe takes seconds, 0 or more.")
    if url := config.getoption("database_url"):
        os.environ["HA_CHAOS_DATABASE_URL"] = url
    try:
        with in_words("The deployment cannot be looked at"):
            return _found(config, observe)
    except UserError as error:
        raise pytest.UsageError(str(error)) from error


def _found(config: pytest.Config, observe: float | None) -> ClusterOptions:
    kubeconfig = default_kubeconfig()
    data = single_context(kubeconfig, config.getoption("context"))
    namespace = config.getoption("namespace") or read_context(data).namespace
    if not namespace:
        raise UserError(
            f"{_NEEDED} needs --namespace: where the release runs.",
            f"Context {data['current-context']} names none.",
        )
    client = api_client(data)
    release = discover(client, namespace, config.getoption("release") or "")
    release = with_rights(client, release)
    api_url = config.getoption("api_url") or ""
    allowed = bool(config.getoption("allow_faults"))
    return ClusterOptions(
        attachment=Attachment(
            kubeconfig=kubeconfig,
            context=data["current-context"],
            namespace=release.namespace,
            release=release.name,
            api_url=api_url,
            allow_faults=allowed,
        ),
        version=_version(api_url) if api_url else reported_version(client, release),
        image=release.image,
        schedulers=len(release.schedulers),
        observe=observe,
        plan=tuple(plan(client, data["current-context"], release, allow_faults=allowed)),
        build=release.build,
    )


def require_room(attachment: Attachment) -> None:
    """See that the recorder could be installed in the deployment's database; nothing is left there.

    Raises UserError with what to do.
    """
    kubeconfig = single_context(attachment.kubeconfig, attachment.context)
    client = api_client(kubeconfig)
    release = discover(client, attachment.namespace, attachment.release)
    database, routes = find_database(client, release)
    with reached(kubeconfig, database, routes) as conninfo:
        try_installing(conninfo, f"{database.name} at {database.place}")


def _version(api_url: str) -> str:
    try:
        return AirflowAPI(api_url).version()
    except (requests.RequestException, ValueError, KeyError) as error:
        raise UserError(f"--api-url {api_url}: no Airflow 3 answers there: {error}") from error


def observes(item: pytest.Item) -> bool:
    """Tell whether a test only looks on."""
    return "observation" in getattr(item, "fixturenames", ())


def deselect(config: pytest.Config, items: list[pytest.Item], observe: bool) -> None:
    """Keep the observation alone where one is asked for, and everything else where not."""
    wanted: list[pytest.Item] = []
    others: list[pytest.Item] = []
    for item in items:
        (wanted if observes(item) == observe else others).append(item)
    if others:
        config.hook.pytest_deselected(items=others)
        items[:] = wanted
