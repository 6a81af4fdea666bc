"""Reading requests: query parameters and bodies, with Kubernetes' answers to malformed ones."""

from typing import Any

import msgspec
from aiohttp import web

from lab.kubeapi import selectors, status
from lab.kubeapi.selectors import Selector
from lab.kubeapi.store import Object, Resource

# kube-apiserver's limit for the body of a request.
MAX_BODY_BYTES = 3 * 1024 * 1024


class _Metadata(msgspec.Struct):
    name: str | None = None
    generateName: str | None = None  # noqa: N815 - Kubernetes' names
    namespace: str | None = None
    uid: str | None = None
    resourceVersion: str | None = None  # noqa: N815
    labels: dict[str, str] | None = None
    annotations: dict[str, str] | None = None


class _Spec(msgspec.Struct):
    containers: list[dict[str, Any]] | None = None
    initContainers: list[dict[str, Any]] | None = None  # noqa: N815
    nodeName: str | None = None  # noqa: N815
    terminationGracePeriodSeconds: int | None = None  # noqa: N815


class _Status(msgspec.Struct):
    phase: str | None = None
    conditions: list[dict[str, Any]] | None = None
    containerStatuses: list[dict[str, Any]] | None = None  # noqa: N815


class _Object(msgspec.Struct):
    """What this server itself looks at, and so must be able to trust the types of."""

    kind: str = ""
    apiVersion: str = ""  # noqa: N815
    metadata: _Metadata | None = None
    spec: _Spec | None = None
    status: _Status | None = None


class _DeleteOptions(msgspec.Struct):
    gracePeriodSeconds: int | None = None  # noqa: N815
    preconditions: dict[str, str] | None = None


def flag(request: web.BaseRequest, name: str) -> bool:
    """Return a boolean query parameter; the clients write it as true, True or 1."""
    return request.query.get(name, "").lower() not in ("", "0", "false")


def number(request: web.BaseRequest, name: str) -> int | None:
    """Return an integer query parameter, None if it is not given; raises ApiError 400."""
    text = request.query.get(name)
    if not text:
        return None
    try:
        return int(text)
    except ValueError:
        raise status.bad_request(f"{name}: {text!r} is not a number") from None


def selector(request: web.BaseRequest, resource: Resource) -> Selector:
    """Return the label and field selectors of a request; raises ApiError 400."""
    query = request.query
    return selectors.parse(
        query.get("labelSelector", ""), query.get("fieldSelector", ""), resource.field_paths
    )


async def json_body(request: web.BaseRequest) -> Any:
    """Return the decoded body; raises ApiError 400, 413 or 415."""
    content_type = request.content_type
    if not content_type.endswith("json") and content_type != "application/octet-stream":
        message = f"the body of the request was in an unknown format - {content_type}"
        raise status.ApiError(415, "UnsupportedMediaType", message)
    try:
        return msgspec.json.decode(await request.read())
    except msgspec.DecodeError as error:
        raise status.bad_request(f"the body of the request is not JSON: {error}") from None
    except web.HTTPRequestEntityTooLarge:
        message = f"Request entity too large: limit is {MAX_BODY_BYTES}"
        raise status.ApiError(413, "RequestEntityTooLarge", message) from None


async def object_body(request: web.BaseRequest) -> Object:
    """Return the object that a request carries; raises ApiError 400."""
    return checked(await json_body(request))


def checked(obj: Any) -> Object:
    """Return what has the shape of a Kubernetes object; raises ApiError 400 if it has not.

    Metadata that is missing, or null as YAML tools write it, is there and empty afterwards.
    """
    if not isinstance(obj, dict):
        raise status.bad_request("the body of the request is not an object")
    shaped: Object = {key: value for key, value in obj.items() if value is not None}
    try:
        msgspec.convert(shaped, _Object)
    except msgspec.ValidationError as error:
        raise status.bad_request(f"the object cannot be handled: {error}") from None
    metadata = shaped.get("metadata", {})
    shaped["metadata"] = {key: value for key, value in metadata.items() if value is not None}
    return shaped


async def delete_options(request: web.BaseRequest) -> Object:
    """Return DeleteOptions from the body, completed by the query; raises ApiError 400."""
    body: Any = await json_body(request) if request.can_read_body else {}
    try:
        msgspec.convert(body, _DeleteOptions)
    except msgspec.ValidationError as error:
        raise status.bad_request(f"DeleteOptions: {error}") from None
    options: Object = {**body}
    if options.get("gracePeriodSeconds") is None:
        options["gracePeriodSeconds"] = number(request, "gracePeriodSeconds")
    return options
