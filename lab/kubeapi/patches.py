"""The three ways to patch an object: merge (RFC 7386), JSON patch (RFC 6902), strategic merge."""

import copy
from typing import Any

from lab.kubeapi.status import ApiError, bad_request

# Lists of objects that a strategic merge patch merges by a key, from the API's types; other
# lists are replaced as a whole.
_MERGE_KEYS = {
    "conditions": "type",
    "containers": "name",
    "env": "name",
    "ephemeralContainers": "name",
    "hostAliases": "ip",
    "imagePullSecrets": "name",
    "initContainers": "name",
    "ownerReferences": "uid",
    "podIPs": "ip",
    "ports": "containerPort",
    "volumeMounts": "mountPath",
    "volumes": "name",
}
_MERGED_SETS = frozenset({"finalizers"})
_DIRECTIVE = "$patch"


def apply(content_type: str, target: dict[str, Any], patch: Any) -> dict[str, Any]:
    """Return the patched object; `target` is the caller's own and may be changed by it.

    Raises ApiError 400 for a malformed patch, 415 for a kind of patch that is not served and
    422 for a JSON patch that does not fit the object.
    """
    if content_type == "application/json-patch+json":
        if not isinstance(patch, list):
            raise bad_request("a JSON patch must be a list of operations")
        patched = target
        for operation in patch:
            patched = _operate(patched, operation)
    elif not isinstance(patch, dict):
        raise bad_request("a merge patch must be an object")
    elif content_type == "application/merge-patch+json":
        patched = _merge(target, patch)
    elif content_type == "application/strategic-merge-patch+json":
        patched = _strategic(target, patch)
    else:
        message = f"the body of the request was in an unknown format - {content_type}"
        raise ApiError(415, "UnsupportedMediaType", message)
    if not isinstance(patched, dict) or not isinstance(patched.get("metadata"), dict):
        raise bad_request("the patch leaves no object with metadata")
    return patched


def _merge(target: Any, patch: dict[str, Any]) -> dict[str, Any]:
    merged = target if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        elif isinstance(value, dict):
            merged[key] = _merge(merged.get(key), value)
        else:
            merged[key] = value
    return merged


def _strategic(target: Any, patch: dict[str, Any]) -> dict[str, Any]:
    merged = target if isinstance(target, dict) else {}
    if patch.get(_DIRECTIVE) == "replace":
        merged = {}
    for key, value in patch.items():
        if key.startswith("$"):
            continue
        if value is None:
            merged.pop(key, None)
        elif isinstance(value, dict):
            merged[key] = _strategic(merged.get(key), value)
        elif isinstance(value, list) and key in _MERGE_KEYS:
            merged[key] = _merge_list(merged.get(key) or [], value, _MERGE_KEYS[key])
        elif key in _MERGED_SETS:
            merged[key] = list(dict.fromkeys([*(merged.get(key) or []), *value]))
        else:
            merged[key] = value
    return merged


def _merge_list(target: list[Any], patch: list[Any], merge_key: str) -> list[Any]:
    if not all(isinstance(item, dict) for item in patch):
        raise bad_request(f"a patch of a list merged by {merge_key!r} must consist of objects")
    if any(item.get(_DIRECTIVE) == "replace" for item in patch):
        return [item for item in patch if _DIRECTIVE not in item]
    merged = {item.get(merge_key): item for item in target}
    for item in patch:
        name = item.get(merge_key)
        if name is None:
            raise bad_request(f"an element of the patch has no merge key {merge_key!r}")
        if item.get(_DIRECTIVE) == "delete":
            merged.pop(name, None)
        else:
            merged[name] = _strategic(merged.get(name), item)
    return list(merged.values())


def _operate(document: Any, operation: Any) -> Any:
    try:
        kind, path = operation["op"], _steps(operation["path"])
        if kind == "test":
            if _at(document, path) != operation["value"]:
                raise _misfit(f"testing path {operation['path']} failed")
            return document
        if kind in ("move", "copy"):
            source = _steps(operation["from"])
            value = copy.deepcopy(_at(document, source))
            document = _removed(document, source) if kind == "move" else document
            return _added(document, path, value)
        if kind == "remove":
            return _removed(document, path)
        if kind == "replace":
            return _added(_removed(document, path), path, operation["value"])
        if kind == "add":
            return _added(document, path, operation["value"])
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise _misfit(f"JSON patch operation does not fit the object: {error}") from error
    raise bad_request(f"unexpected kind of JSON patch operation: {kind}")


def _misfit(message: str) -> ApiError:
    return ApiError(422, "Invalid", f"the server rejected our request: {message}")


def _steps(pointer: str) -> list[str]:
    if pointer and not pointer.startswith("/"):
        raise ValueError(f"{pointer!r} is no JSON pointer")
    return [part.replace("~1", "/").replace("~0", "~") for part in pointer.split("/")[1:]]


def _at(document: Any, path: list[str]) -> Any:
    for step in path:
        document = document[int(step)] if isinstance(document, list) else document[step]
    return document


def _removed(document: Any, path: list[str]) -> Any:
    if not path:
        return None
    parent = _at(document, path[:-1])
    if isinstance(parent, list):
        del parent[int(path[-1])]
    else:
        del parent[path[-1]]
    return document


def _added(document: Any, path: list[str], value: Any) -> Any:
    if not path:
        return value
    parent = _at(document, path[:-1])
    if isinstance(parent, list):
        parent.insert(len(parent) if path[-1] == "-" else int(path[-1]), value)
    else:
        parent[path[-1]] = value
    return document
