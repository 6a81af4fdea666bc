"""The three ways to patch an object: merge (RFC 7386), JSON patch (RFC 6902), strategic merge."""

from typing import Any

from jsonpatch import JsonPatch, JsonPatchException, JsonPointerException

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
        patched = _operated(target, patch)
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


def _operated(document: dict[str, Any], patch: Any) -> Any:
    """Apply a JSON patch (RFC 6902); all that the library refuses is the patch's fault."""
    if not isinstance(patch, list):
        raise bad_request("a JSON patch must be a list of operations")
    for operation in patch:
        kind = operation.get("op") if isinstance(operation, dict) else None
        if isinstance(kind, str) and kind not in JsonPatch.operations:
            raise bad_request(f"unexpected kind of JSON patch operation: {kind}")
    try:
        return JsonPatch(patch).apply(document, in_place=True)
    except (JsonPatchException, JsonPointerException) as error:
        message = f"the server rejected our request: {error}"
        raise ApiError(422, "Invalid", message) from error
