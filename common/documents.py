"""Hides the secrets of Helm values, manifests and kubeconfigs by their structure.

A document is parsed; what may be secret is decided by where it stands, so that a password of any
look, under any name, is hidden: all that a Secret holds, every literal value in an environment that
is not known to be harmless, what the chart makes Secrets of, what Airflow calls sensitive.
References (`valueFrom`, `secretName`, files) stay, and so does all that says what was deployed.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

import yaml

from common.redaction import redact
from common.secret_names import is_harmless_variable, is_secret, is_sensitive, plain
from common.secret_urls import MASK

_IN_CHART = frozenset(
    {
        "kerberos.keytabBase64Content",
        "pgbouncer.ssl.key",
        "data.brokerUrl",
        "dags.gitSync.sshKey",
    }
)
"""Values that the official chart puts into Secrets (templates/secrets of 1.18.0 and 1.22.0), and
whose names alone would not say so. They count wherever they stand, also in an umbrella chart.
"""

_ENVIRONMENT = re.compile(r"(?:\w*_)?(?:env|envs|environment|env_vars|variables|extra_env)")
_ARGUMENTS = ("args", "command", "cmd", "argv")
_CONFIG = ("config", "airflow_cfg")
_CONTENTS = ("data", "string_data", "binary_data")
_REFERENCE = frozenset(
    {
        *("audience", "defaultMode", "expirationSeconds", "items", "key", "mode", "name"),
        *("namespace", "optional", "path", "secretKeyRef", "secretName", "valueFrom"),
    }
)
"""What says where a secret is; a mapping of nothing else holds none."""

_A_FLAG = re.compile(r"--?([A-Za-z][\w-]*)")
_RANDOM = re.compile(r"(?=\S*\d)(?=\S*[a-z])(?=\S*[A-Z])[A-Za-z0-9+/_=-]{24,}")
"""A word of letters of both cases and digits that nobody would choose: a token."""

_KNOWN_BY = re.compile(r"(?:\w*_)?(?:tag|image|digest|checksum|sha\d*|uid|revision|hash)")

Path = tuple[str, ...]


def redact_document(text: str) -> str:
    """Return a text of YAML or JSON documents with their secrets hidden, else it redacted as text.

    Comments of a document with secrets are lost, for nobody knows what is in them.
    """
    documents = _parsed(text)
    if documents is None:
        return redact(text)
    try:
        hidden = [hide(each) for each in documents]
        unchanged = hidden == documents
    except RecursionError:  # a document that holds itself
        return redact(text)
    return redact(text if unchanged else _dumped(hidden))


def yaml_problem(error: Exception) -> str:
    """Say what is wrong with a text that is not YAML, and where; not what stands there.

    An error's own text shows the line, which may hold a secret.
    """
    mark = getattr(error, "problem_mark", None)
    problem = str(getattr(error, "problem", None) or type(error).__name__)
    return f"line {mark.line + 1}, column {mark.column + 1}: {problem}" if mark else problem


def hide(data: Any, path: Path = ()) -> Any:
    """Return a parsed document with its secrets hidden; `path` is where it stands in a greater."""
    if isinstance(data, Mapping):
        return _hide_mapping(data, path)
    if isinstance(data, list | tuple):
        if path and plain(path[-1]) in _ARGUMENTS:
            return list(_hide_arguments(data))
        return [hide(each, path) for each in data]
    return _hide_text(data, path) if isinstance(data, str) else data


def _parsed(text: str) -> list[Any] | None:
    """Return the mappings and lists of a text that is nothing else; None where it is not that."""
    try:
        documents = [each for each in yaml.safe_load_all(text) if each is not None]
    except (yaml.YAMLError, ValueError, RecursionError):
        return None
    return (
        documents if documents and all(isinstance(d, Mapping | list) for d in documents) else None
    )


class _Dumper(yaml.SafeDumper):
    """Writes a text of several lines as people do: below a bar."""


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _text)


def _dumped(documents: list[Any]) -> str:
    return yaml.dump_all(documents, Dumper=_Dumper, sort_keys=False, width=100, allow_unicode=True)


def _hide_mapping(data: Mapping[Any, Any], path: Path) -> dict[Any, Any]:
    if data.get("kind") == "Secret" and "apiVersion" in data:
        return {
            k: _all(v) if plain(str(k)) in _CONTENTS else hide(v, path) for k, v in data.items()
        }
    if _is_variable(data, path):
        return _hide_variable(data, path)
    connection = "conn_type" in data
    hidden = {}
    for key, value in data.items():
        where = (*path, str(key))
        if (connection and key in ("extra", "extra_dejson")) or _is_secret_at(where, value):
            hidden[key] = _all(value)
        else:
            hidden[key] = hide(value, where)
    return hidden


def _is_secret_at(path: Path, value: Any) -> bool:
    """Tell whether all that stands at a path is secret."""
    key, parents = path[-1], [plain(each) for each in path[:-1]]
    if isinstance(value, Mapping) and (not value or _REFERENCE.issuperset(value)):
        return False
    if plain(key) in _CONTENTS and "extra_secrets" in parents:
        return True
    if len(parents) > 1 and parents[-2] in _CONFIG:
        return is_sensitive(parents[-1], plain(key))
    in_environment = bool(parents) and _ENVIRONMENT.fullmatch(parents[-1]) is not None
    if key.startswith("AIRFLOW__") or (in_environment and isinstance(value, str | int | float)):
        return not isinstance(value, bool) and not is_harmless_variable(key)
    in_docker = key == "auth" and "auths" in path
    return in_docker or is_secret(key) or any(_ends(path, each) for each in _IN_CHART)


def _ends(path: Path, tail: str) -> bool:
    return ".".join(path).endswith(tail) and (
        ".".join(path) == tail or f".{tail}" in ".".join(path)
    )


def _is_variable(data: Mapping[Any, Any], path: Path) -> bool:
    """Tell whether a mapping is a variable of an environment: a name and a literal value."""
    if not isinstance(data.get("name"), str) or data.get("value") in (None, ""):
        return False
    within = any(_ENVIRONMENT.fullmatch(plain(each)) for each in path[-1:])
    return within or not path or data["name"].isupper() or is_secret(data["name"])


def _hide_variable(data: Mapping[Any, Any], path: Path) -> dict[Any, Any]:
    harmless = is_harmless_variable(data["name"])
    value = hide(data["value"], path) if harmless else _all(data["value"])
    return {**hide({k: v for k, v in data.items() if k != "value"}, (*path, "")), "value": value}


def _hide_arguments(arguments: list[Any] | tuple[Any, ...]) -> Iterator[Any]:
    """Hide what follows a flag such as `--password`, and what stands within any argument."""
    secret = False
    for each in arguments:
        text = str(each)
        yield MASK if secret and not text.startswith("-") else hide(each)
        flag = _A_FLAG.fullmatch(text)
        secret = flag is not None and is_secret(flag[1])


def _hide_text(text: str, path: Path) -> str:
    """Hide what is secret in a string, which may hold a document, as `extraEnv` does."""
    if "\n" in text and ":" in text and (documents := _parsed(text)) is not None:
        hidden = [hide(each, path) for each in documents]
        if hidden != documents:
            return redact(_dumped(hidden))
    words = text.split()
    if (
        len(words) == 1
        and _RANDOM.fullmatch(text)
        and not (path and _KNOWN_BY.fullmatch(plain(path[-1])))
    ):
        return MASK
    return redact(text)


def _all(value: Any) -> Any:
    """Hide all that a value holds; keys, nulls and booleans stay, and what refers to a secret."""
    if isinstance(value, Mapping):
        if value and _REFERENCE.issuperset(value):
            return value
        return {key: _all(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_all(each) for each in value]
    if isinstance(value, str) and "\n" in value and (documents := _parsed(value)) is not None:
        return _dumped([_all(each) for each in documents])
    return value if value is None or isinstance(value, bool) or value == "" else MASK
