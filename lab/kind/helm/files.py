"""A user's own values files, read as their maker means them.

People keep values in manifests, encrypted, as templates, or below the name of a chart of their own.
What is not values of the chart is said to be what it is, with how to get them out of it.
"""

import json
from collections.abc import Collection, Hashable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from common.documents import yaml_problem
from common.errors import UserError

Values = dict[str, Any]

_HOLDERS = ("values", "valuesObject", "valuesContent", "valuesInline", "values.yaml")
"""Keys below which manifests hold a chart's values: Flux, Argo CD, k3s, kustomize, ConfigMaps."""

_ENCRYPTED = {
    "$ANSIBLE_VAULT;": ("Ansible Vault", "ansible-vault view"),
    "\0GITCRYPT\0": ("git-crypt", "git-crypt unlock, then cat"),
}
_SOPS = "ENC[AES256_GCM,"


@dataclass(frozen=True)
class Given:
    """One values file. `below` is what the keys of its `values` stand under in it, with a dot.

    `anchors` are top keys whose content stands elsewhere too, by an alias.
    """

    path: Path
    values: Values
    below: str = ""
    notes: tuple[str, ...] = ()
    anchors: frozenset[str] = frozenset()


def read_file(path: Path, known: Collection[str] = ()) -> Given:
    """Return what a values file says; `known` are the chart's top keys, where there is a chart.

    Several documents are merged in order, as several files are. `extraEnv` becomes a list, unless
    it is a template that only Helm can read. Raises UserError when it is no values file.
    """
    text = _text(path)
    documents = [_document(each, path) for each in _documents(text, path)]
    notes = []
    values, below = _unwrap(_joined(documents), known)
    if len(documents) > 1:
        notes.append(
            f"{path.name}: its {len(documents)} YAML documents are merged in order; Helm itself "
            "takes the first alone."
        )
    if below:
        notes.append(f"{path.name}: the chart is given what stands below {below.rstrip('.')}.")
    if isinstance(values.get("extraEnv"), str):
        values["extraEnv"] = _variables(values["extraEnv"], path)
    return Given(path, values, below, tuple(notes), frozenset(_anchors(text)))


def _joined(documents: Sequence[Values]) -> Values:
    """Return documents on top of each other: mappings by key, all else is replaced."""
    result: Values = {}
    for document in documents:
        for key, value in document.items():
            under = result.get(key)
            if isinstance(under, dict) and isinstance(value, dict):
                result[key] = _joined([under, value])
            else:
                result[key] = value
    return result


def _text(path: Path) -> str:
    try:
        data = path.read_bytes()
        text = data.decode("utf-8-sig")
    except OSError as error:
        raise UserError(f"The values file {path} cannot be read: {error.strerror}.") from None
    except UnicodeDecodeError as error:
        text = data[:64].decode("latin-1")
        if not text.startswith(tuple(_ENCRYPTED)):
            raise UserError(f"The values file {path} is not YAML: it is not UTF-8.") from error
    for mark, (name, command) in _ENCRYPTED.items():
        if text.startswith(mark):
            raise _encrypted(path, name, command)
    return text


def _documents(text: str, path: Path) -> list[Any]:
    try:
        found = list(yaml.load_all(text, _Loader))
    except RecursionError:
        raise UserError(f"The values file {path} nests too deeply.") from None
    except (yaml.YAMLError, ValueError) as error:
        hint = ""
        if "{{" in text:
            hint = (
                "It has templates. Give what helmfile, or whoever reads them, makes of it; what "
                "the chart is to read stands in quotes: '{{ .Release.Name }}'."
            )
        raise UserError(
            f"The values file {path} is not YAML: {yaml_problem(error)}.", hint
        ) from None
    try:
        json.dumps(found, default=str, skipkeys=True)
    except (ValueError, RecursionError):
        raise UserError(f"The values file {path} has an anchor that contains itself.") from None
    return [each for each in found if each is not None]


def _document(document: Any, path: Path) -> Values:
    """Return a document that is a mapping of values; UserError for a manifest or a cipher."""
    if not isinstance(document, dict):
        raise UserError(f"The values file {path} is not a mapping.", "See `helm show values`.")
    if isinstance(document.get("sops"), dict) or _SOPS in json.dumps(document, default=str):
        raise _encrypted(path, "SOPS", "sops decrypt")
    kind = document.get("kind")
    if isinstance(kind, str) and isinstance(document.get("apiVersion"), str):
        places = list(_holders(document))
        hint = "A values file holds the chart's own keys: see `helm show values`."
        if places:
            decode = " | base64 -d" if kind == "Secret" and "stringData" not in places[0] else ""
            hint = (
                f"Its values stand at {' and '.join(places)}. Write them to a file of their own: "
                f"yq '{places[0]}' {path.name}{decode} > values-only.yaml"
            )
        raise UserError(f"The values file {path} is a manifest, a {kind}.", hint)
    return document


def _anchors(text: str) -> Iterator[str]:
    """Yield the top keys that hold what an alias in another one stands for."""
    for document in yaml.compose_all(text, yaml.SafeLoader):
        holders: dict[int, str] = {}
        for key, value in document.value if isinstance(document, yaml.MappingNode) else ():
            for node in _nodes(value):
                holder = holders.setdefault(id(node), key.value)
                if holder != key.value:
                    yield holder


def _nodes(node: yaml.Node) -> Iterator[yaml.Node]:
    """Yield all nodes of a tree, each once."""
    todo, seen = [node], set()
    while todo:
        node = todo.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        yield node
        if isinstance(node, yaml.MappingNode):
            todo.extend(part for pair in node.value for part in pair)
        elif isinstance(node, yaml.SequenceNode):
            todo.extend(node.value)


def _encrypted(path: Path, name: str, command: str) -> UserError:
    return UserError(
        f"The values file {path} is encrypted with {name}.",
        f"Decrypt it and give the result: {command} {path.name} > decrypted.yaml",
    )


def _holders(node: Any, at: str = "") -> Iterator[str]:
    """Yield where values are in a manifest, as yq names a place."""
    if isinstance(node, dict):
        for key, value in node.items():
            place = f'{at}."{key}"' if "." in str(key) else f"{at}.{key}"
            if key in _HOLDERS and value:
                yield place
            else:
                yield from _holders(value, place)
    elif isinstance(node, list):
        for number, value in enumerate(node):
            yield from _holders(value, f"{at}[{number}]")


def fits(below: Any, known: Collection[str]) -> bool:
    """Tell whether what stands below a key are values of the chart, by most of their keys."""
    if not isinstance(below, dict):
        return False
    return 2 * sum(key in known for key in below) > len(below)


def _unwrap(values: Values, known: Collection[str]) -> tuple[Values, str]:
    """Return the values below the name that an umbrella chart gives Airflow's, and that name.

    Only where nothing else can be meant: no top key is the chart's, and below one most are.
    """
    if not known or any(key in known and key != "global" for key in values):
        return values, ""
    fitting = [key for key, below in values.items() if fits(below, known)]
    if len(fitting) != 1:
        return values, ""
    found: Values = values[fitting[0]]
    return found, f"{fitting[0]}."


def _variables(text: str, path: Path) -> list[Any] | str:
    """Return the variables that `extraEnv` holds as text; the text where it is a template."""
    try:
        variables = yaml.safe_load(text) or []
    except yaml.YAMLError:
        variables = None
    if isinstance(variables, list):
        return variables
    if "{{" in text:
        return text
    raise UserError(
        f"extraEnv in {path} is not a YAML list of variables.", "Write `- name: X`, then `value:`."
    )


class _Loader(yaml.SafeLoader):
    """Refuses a key that is there twice in one mapping: Helm would drop the first in silence."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        """Construct a mapping in which every key is there once."""
        seen: dict[Hashable, int] = {}
        for key, _ in node.value:
            if key.tag == "tag:yaml.org,2002:merge" or not isinstance(key, yaml.ScalarNode):
                continue
            line = key.start_mark.line + 1
            if key.value in seen:
                raise yaml.constructor.ConstructorError(
                    None,
                    None,
                    f"{key.value} is there twice, in lines {seen[key.value]} and {line}; Helm "
                    "takes the last alone",
                )
            seen[key.value] = line
        return dict(super().construct_mapping(node, deep))
