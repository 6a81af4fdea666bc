"""What a lab's logs said during a run, without what nobody but the lab is to know.

Secrets are values that a lab made or was given, and that its logs may hold.
"""

import configparser
import json
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from io import TextIOWrapper
from pathlib import Path

import yaml
from psycopg.conninfo import conninfo_to_dict

from common.errors import UserError
from common.files import last_exception
from common.redaction import redact, stream
from common.secret_names import secrets_of
from lab.base import Lab

# As a flood and the API's client say it; anything else is not the server's own failure.
_ITS_OWN = "answered 5"

_SETTINGS = ("fernet_key", "secret_key", "jwt_secret")
_GENERATED = "simple_auth_manager_passwords.json.generated"


class LogTails:
    """Keeps of each log what was written from now on: a warm lab's logs go back further.

    A log that has become shorter was trimmed, and is kept whole. All of the new part is kept,
    however long; it is copied piece by piece. `secrets` are values to hide wherever they stand.
    """

    def __init__(self, logs: dict[str, Path], secrets: Iterable[str] = ()) -> None:
        self._secrets = tuple(secrets)
        self._begun = {
            name: (path, path.stat().st_size if path.exists() else 0) for name, path in logs.items()
        }

    def keep(self, folder: Path) -> None:
        """Write every log's new part, redacted, to `folder`/<process>.log."""
        for name, (path, offset) in self._begun.items():
            if not path.exists():
                continue
            folder.mkdir(parents=True, exist_ok=True)
            target = folder / f"{name}.log"
            with path.open("rb") as file, target.open("w", newline="") as kept:
                file.seek(offset if path.stat().st_size >= offset else 0)
                text = TextIOWrapper(file, encoding="utf-8", errors="replace", newline="")
                stream(text.read, kept.write, self._secrets)
            if not target.stat().st_size:
                target.unlink()

    def keep_text(self, folder: Path, name: str, text: str | None) -> None:
        """Write one text, redacted; nothing where there is none."""
        if text:
            folder.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(redact(text, self._secrets))


class OwnReason:
    """What the API server logs from now on.

    A 500 says "Internal Server Error" and no more; and what had been logged before is no reason.
    """

    def __init__(self, lab: Lab, secrets: tuple[str, ...]) -> None:
        self._secrets = secrets
        logs = [path for name, path in lab.logs().items() if "api-server" in name]
        self._sizes = {path: path.stat().st_size if path.exists() else 0 for path in logs}

    @contextmanager
    def added(self) -> Iterator[None]:
        """Add to a UserError about a 5xx, which leaves the block, the exception that was logged."""
        try:
            yield
        except UserError as error:
            words = self._words()
            if not words or _ITS_OWN not in error.message:
                raise
            said = f"{error.message} Its log says: {words}"
            raise UserError(said, error.hint) from error

    def _words(self) -> str:
        found = (last_exception(path, size) for path, size in self._sizes.items())
        return redact(next(filter(None, found), ""), self._secrets)


def known_secrets(lab: Lab) -> tuple[str, ...]:
    """Return the values to hide wherever they stand in what is kept of a lab."""
    spec = getattr(lab, "spec", None)
    found = {
        str(conninfo_to_dict(lab.dsn()).get("password") or ""),
        *secrets_of(getattr(lab, "endpoints", {})),
        *secrets_of(getattr(spec, "env", {})),
        *secrets_of(os.environ),
        *_of_airflow(lab.directory / "airflow"),
        *_of_kubeconfig(lab.kubeconfig),
    }
    return tuple(sorted(value for value in found if value))


def _of_airflow(home: Path) -> Iterator[str]:
    """Yield the keys that Airflow made for itself when it first started."""
    config = configparser.ConfigParser(interpolation=None, strict=False)
    try:
        config.read(home / "airflow.cfg")
    except configparser.Error:
        return
    for section in config.sections():
        for name in _SETTINGS:
            yield config.get(section, name, fallback="").strip()
    with suppress(OSError, ValueError):
        yield from json.loads((home / _GENERATED).read_text()).values()


def _of_kubeconfig(path: Path) -> Iterator[str]:
    try:
        users = (yaml.safe_load(path.read_text()) or {}).get("users") or []
    except (OSError, yaml.YAMLError, AttributeError):
        return
    for user in users:
        login = user.get("user") or {}
        yield from (str(login.get(name) or "") for name in ("token", "password", "client-key-data"))
