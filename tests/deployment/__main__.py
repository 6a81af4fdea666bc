"""`python -m tests.deployment [FILE.yaml ..]`: a deployment to try on by hand, until Ctrl-C.

Without files it is a release of two schedulers. Of files with manifests, the URLs in Secrets are
made to work: each user and database that one names is made, and every port-forward leads there.
"""

import argparse
import contextlib
import shutil
import sys
import tempfile
from pathlib import Path
from urllib.parse import SplitResult, unquote, urlsplit

import psycopg
import yaml
from psycopg import sql

from lab.embedded.postgres import OWNER, Postgres
from tests.deployment.airflow import Airflow, Player, api_server
from tests.deployment.release import database, pod, release
from tests.deployment.standin import Manifest, StandIn


def main() -> int:
    """Serve until Ctrl-C; print how to attach."""
    parser = argparse.ArgumentParser(prog="python -m tests.deployment", description=__doc__)
    parser.add_argument("files", nargs="*", type=Path, metavar="FILE.yaml")
    parser.add_argument("--still", action="store_true", help="play nothing")
    options = parser.parse_args()
    manifests = [
        each for file in options.files for each in yaml.safe_load_all(file.read_text()) if each
    ]
    folder = Path(tempfile.mkdtemp(prefix="ha-chaos-deployment-"))
    folder.chmod(0o755)
    server = Postgres(folder)
    try:
        server.initialise()
        server.start()
        _serve(
            server,
            folder,
            manifests or [*release(schedulers=2, named=True), *database()],
            options.still,
        )
    finally:
        server.stop()
        shutil.rmtree(folder)
    return 0


def _serve(server: Postgres, folder: Path, manifests: list[Manifest], still: bool) -> None:
    airflow = _databases(server, manifests)
    named = [pod(name, {}) for name in sorted(_pods_behind(manifests))]
    with api_server() as api, StandIn([*named, *manifests]) as there:
        there.lead("*", 8080, api)
        for port in {5432, *(url.port or 5432 for url in _urls(manifests))}:
            there.lead("*", port, server.port)
        path = there.write_kubeconfig(folder / "kubeconfig")
        print(f"export KUBECONFIG={path}")
        print("pytest suites/ --lab cluster --namespace airflow --observe 20", flush=True)
        player = Player(airflow, there)
        if not still:
            player.start()
        with contextlib.suppress(KeyboardInterrupt, EOFError):
            input()
        if not still:
            player.stop()


def _pods_behind(manifests: list[Manifest]) -> set[str]:
    """Return the pods that Endpoints name; a file may have left them out."""
    subsets = [part for each in manifests for part in each.get("subsets", ())]
    addresses = [each for part in subsets for each in part.get("addresses", ())]
    return {each["targetRef"]["name"] for each in addresses if "targetRef" in each}


def _databases(server: Postgres, manifests: list[Manifest]) -> Airflow:
    """Make the users and the databases that the URLs in Secrets name; return the first database."""
    made: dict[str, Airflow] = {}
    for url in _urls(manifests):
        name = url.path.strip("/")
        if name not in made:
            made[name] = Airflow(server, name).create()
        user = sql.Identifier(unquote(url.username or ""))
        role = sql.SQL("CREATE ROLE {} LOGIN IN ROLE {}").format(user, sql.Identifier(OWNER))
        password = sql.SQL("ALTER ROLE {} PASSWORD {}").format(user, unquote(url.password or ""))
        with made[name].connect_as_superuser() as connection:
            with contextlib.suppress(psycopg.errors.DuplicateObject):
                connection.execute(role)
            connection.execute(password)
    return next(iter(made.values()))


def _urls(manifests: list[Manifest]) -> list[SplitResult]:
    texts = [text for each in manifests for text in each.get("stringData", {}).values()]
    return [each for each in map(urlsplit, texts) if each.scheme.startswith("postgres")]


if __name__ == "__main__":
    sys.exit(main())
