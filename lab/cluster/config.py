"""One context of the user's kubeconfig as a file of its own, for the folder of a lab."""

import os
from pathlib import Path
from typing import Any

import yaml

from common.errors import UserError

_FILES = frozenset({"certificate-authority", "client-certificate", "client-key", "tokenFile"})


def default_kubeconfig() -> str:
    """Return where kubectl would look: KUBECONFIG (a list of paths), else ~/.kube/config."""
    return os.environ.get("KUBECONFIG") or str(Path.home() / ".kube" / "config")


def single_context(kubeconfig: str, context: str | None) -> dict[str, Any]:
    """Return a kubeconfig of one context alone, its own current one where `context` is None.

    `kubeconfig` may be a list of paths, as KUBECONFIG is; the first that names a thing counts.
    Paths inside are made absolute. Raises UserError when a part is missing.
    """
    files = [Path(each).expanduser() for each in kubeconfig.split(os.pathsep) if each]
    read = [(path, _read(path)) for path in files if path.exists()]
    if not read:
        raise UserError(
            f"There is no kubeconfig at {kubeconfig}.", "Set KUBECONFIG, as for kubectl."
        )
    name = context or next((d["current-context"] for _, d in read if d.get("current-context")), "")
    if not name:
        raise UserError(f"{kubeconfig} has no current context.", "Name one with --context.")
    known = [each["name"] for _, data in read for each in data.get("contexts") or ()]
    if name not in known:
        raise UserError(
            f"{kubeconfig} has no context {name!r}.", f"It has: {', '.join(known) or 'none'}."
        )
    chosen = _named(read, "contexts", name)
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": name,
        "contexts": [chosen],
        "clusters": [_named(read, "clusters", chosen["context"]["cluster"])],
        "users": [_named(read, "users", chosen["context"]["user"])],
    }


def write_kubeconfig(path: Path, data: dict[str, Any]) -> None:
    """Write a kubeconfig that its owner alone can read."""
    path.touch(0o600)
    path.write_text(yaml.safe_dump(data))


def _read(path: Path) -> dict[str, Any]:
    try:
        data = yaml.safe_load(path.read_text())
    except (OSError, yaml.YAMLError) as error:
        raise UserError(f"The kubeconfig {path} cannot be read: {error}") from error
    if not isinstance(data, dict):
        raise UserError(f"{path} is no kubeconfig.")
    return data


def _named(read: list[tuple[Path, dict[str, Any]]], kind: str, name: str) -> dict[str, Any]:
    for path, data in read:
        for each in data.get(kind) or ():
            if each.get("name") == name:
                return {**each, kind[:-1]: _absolute(each[kind[:-1]], path.resolve().parent)}
    raise UserError(f"The kubeconfig {read[0][0]} has no entry {name!r} under {kind}.")


def _absolute(entry: dict[str, Any], base: Path) -> dict[str, Any]:
    return {
        key: str(base / value) if key in _FILES and value else value for key, value in entry.items()
    }
