"""What nobody but a lab is to know: values that it made or was told, and that logs may hold."""

import configparser
import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import yaml
from psycopg.conninfo import conninfo_to_dict

from lab.base import Lab

_NAME = re.compile(r"(?i)(password|passwd|secret|token|(?:fernet|api|access|private|secret)_key)$")
_URL = re.compile(r"://[^\s/:@]*:([^\s/@]+)@")
_SETTINGS = ("fernet_key", "secret_key", "jwt_secret")
_GENERATED = "simple_auth_manager_passwords.json.generated"


def known_secrets(lab: Lab) -> tuple[str, ...]:
    """Return the values to hide wherever they stand in what is kept of a lab."""
    spec = getattr(lab, "spec", None)
    found = {
        *_passwords(lab.dsn()),
        *_named(getattr(lab, "endpoints", {})),
        *_named(getattr(spec, "env", {})),
        *_named(os.environ),
        *_of_airflow(lab.directory / "airflow"),
        *_of_kubeconfig(lab.kubeconfig),
    }
    return tuple(sorted(value for value in found if value))


def _passwords(conninfo: str) -> Iterator[str]:
    yield str(conninfo_to_dict(conninfo).get("password") or "")


def _named(settings: Mapping[str, Any]) -> Iterator[str]:
    """Yield the values whose names say that they are secret, and the passwords in URLs."""
    for name, value in settings.items():
        if isinstance(value, Mapping):
            yield from _named(value)
        elif isinstance(value, str):
            if _NAME.search(name):
                yield value
            yield from _URL.findall(value)


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
