"""Where a release has its database's URL from: read there, or told by name where it cannot be.

The order is Airflow's: a variable, its _CMD, its _SECRET; then airflow.cfg, with the same three.
"""

import configparser
import posixpath
import shlex
from collections.abc import Iterator
from dataclasses import replace

from psycopg import pq

from common.errors import UserError
from common.paths import path_of
from lab.cluster.container import Container, Unreadable
from lab.cluster.url import FILES, Database, parse_url

_HINT = "Give the URL in HA_CHAOS_DATABASE_URL or --database-url."
_HOME = "/home/airflow"
_DEFAULT_FILES = {
    "sslrootcert": ".postgresql/root.crt",
    "sslcert": ".postgresql/postgresql.crt",
    "sslkey": ".postgresql/postgresql.key",
    "sslcrl": ".postgresql/root.crl",
    "passfile": ".pgpass",
}
"""Where libpq looks in a home folder, unless told otherwise."""
_SECTIONS = ("database", "core")
_KEY = "sql_alchemy_conn"
# The libpq in the pods takes these where the URL leaves something out.
_VARIABLES = {
    each.envvar.decode(): each.keyword.decode()
    for each in pq.Conninfo.get_defaults()
    if each.envvar
}


def database_of(container: Container) -> tuple[Database, str]:
    """Return the database that a container's URL names, and in words where the URL is from.

    Its schema and the files that it names come along. Raises UserError when the URL is nowhere to
    be had, without any part of it.
    """
    url, origin = _url(container)
    try:
        database = _parsed(container, url)
    except UserError as error:
        raise UserError(f"{error.message} It is from {origin}.", error.hint) from None
    return database, origin


def _parsed(container: Container, url: str) -> Database:
    """Read a URL; what it leaves out, its service says, and then the environment, as for libpq."""
    defaults = _defaults(container)
    database = parse_url(url, defaults)
    more = dict(database.more)
    if service := more.get("service"):
        defaults |= _of_service(container, service, more.get("servicefile"))
        database = parse_url(url, defaults)
        more = dict(database.more)
    kept = ((key, more[key]) for key in sorted(more) if key not in ("service", "servicefile"))
    return replace(database, more=tuple(kept))


def _url(container: Container) -> tuple[str, str]:
    try:
        for found in _candidates(container):
            if found is not None:
                return found
    except Unreadable as error:
        raise UserError(error.message, f"{error.hint} {_HINT}".strip()) from None
    refused = ", ".join(str(each) for each in container.unread)
    if refused:
        raise UserError(
            f"The database's URL of {container.name} may be in {refused}, which cannot be read.",
            f"Allow `get` on it. {_HINT}",
        )
    raise UserError(
        f"Nothing that can be seen from here gives {container.name} its database's URL: neither "
        f"its environment nor a mounted airflow.cfg has {_KEY}; its image may.",
        _HINT,
    )


def _candidates(container: Container) -> Iterator[tuple[str, str] | None]:
    for section in _SECTIONS:
        variable = f"AIRFLOW__{section}__{_KEY}".upper()
        yield container.found_expanded(variable)
        yield _of_command(container, container.variable(f"{variable}_CMD"), f"{variable}_CMD")
        _refuse_backend(container.variable(f"{variable}_SECRET"), f"{variable}_SECRET")
    for section in _SECTIONS:
        yield container.in_file(section, _KEY)
        command, backend = (
            container.in_file(section, f"{_KEY}_{way}") for way in ("cmd", "secret")
        )
        if command is not None:
            yield _of_command(container, *command)
        if backend is not None:
            _refuse_backend(*backend)


def _of_command(container: Container, command: str | None, where: str) -> tuple[str, str] | None:
    """Return the URL that a command prints, where it prints a file that an object mounts."""
    if not command:
        return None
    try:
        words = shlex.split(command)
    except ValueError:
        words = []
    if len(words) == 2 and words[0].rpartition("/")[2] == "cat":
        if (found := container.file(words[1])) is not None:
            return found[0], f"{found[1]} ({where})"
        raise UserError(
            f"The database's URL is in the file {words[1]} of {container.name} ({where}), which "
            "no Secret or ConfigMap mounts.",
            _HINT,
        )
    raise UserError(
        f"The database's URL is what a command in {container.name} prints ({where}): it is not run "
        "from here.",
        _HINT,
    )


def _refuse_backend(key: str | None, where: str) -> None:
    if key:
        raise UserError(
            f"The database's URL is in Airflow's secrets backend ({where}), which is not asked "
            "from here.",
            _HINT,
        )


def _defaults(container: Container) -> dict[str, str]:
    found = ((keyword, container.variable(name)) for name, keyword in _VARIABLES.items())
    return {keyword: value for keyword, value in found if value}


def schema_of(container: Container) -> str:
    """Return the schema of Airflow's tables where the release names one; empty is the default."""
    return container.setting("database", "sql_alchemy_schema").strip()


def with_files(container: Container, database: Database) -> tuple[Database, list[str]]:
    """Take along the files that a URL names and the pod mounts; say in words where they are from.

    A path that is one on this machine, too, is left: a system's own certificates are. Raises
    UserError for a file that is in the pod alone.
    """
    more, texts, words = dict(database.more), [], []
    for parameter in FILES:
        path = more.get(parameter) or _at_home(container, _DEFAULT_FILES[parameter])
        if path == "system":
            continue
        found = _file(container, parameter, path)
        if found is not None:
            more[parameter] = path
            texts.append((parameter, found[0]))
            words.append(f"{parameter} from {found[1]}")
        elif parameter in more and path_of(path).is_file():
            words.append(f"{parameter} is {path} of this machine")
        elif parameter in more:
            raise UserError(
                f"The database's URL names {path} ({parameter}), a file in the pod "
                f"{container.name} and not here, and no Secret or ConfigMap mounts it there.",
                f"Copy it (`kubectl exec {container.name} -- cat {path}`), and give "
                f"HA_CHAOS_DATABASE_URL with {parameter}=WHERE_IT_IS_HERE.",
            )
    return replace(database, more=tuple(sorted(more.items())), files=tuple(texts)), words


def _file(container: Container, parameter: str, path: str) -> tuple[str, str] | None:
    try:
        return container.file(path)
    except Unreadable as error:
        raise UserError(
            f"The database's URL needs {path} ({parameter}), a file in the pods. {error.message}",
            error.hint,
        ) from None


def _of_service(container: Container, service: str, file: str | None) -> dict[str, str]:
    """Return what the pod's pg_service.conf says of a service."""
    path = file or container.variable("PGSERVICEFILE") or _at_home(container, ".pg_service.conf")
    found = _file(container, "service", path)
    said = configparser.ConfigParser(interpolation=None, strict=False)
    said.read_string(found[0] if found else "")
    if not said.has_section(service):
        raise UserError(
            f"The database's URL names the service {service}, which the pod {container.name} has "
            f"in {path}: no Secret or ConfigMap mounts that.",
            _HINT,
        )
    return dict(said.items(service))


def _at_home(container: Container, name: str) -> str:
    return posixpath.join(container.variable("HOME") or _HOME, name)
