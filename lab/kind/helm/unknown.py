"""Keys that a chart does not know: Helm drops most of them in silence."""

from collections.abc import Iterator, Mapping
from typing import Any

from common.nearest import nearest
from lab.kind.helm.chart import Contents
from lab.kind.helm.files import Given, fits

_UNUSED = ("x-", "_", ".")
"""How keys begin that hold nothing but anchors, by the custom of many."""


def unknown(given: Given, chart: Contents) -> Iterator[str]:
    """Yield what is wrong with the keys of a file that the chart does not know, one by one.

    Known is what values.schema.json or values.yaml of the chart has; what they leave free, such as
    labels or `config`, is not looked into, nor what is for a subchart.
    """
    known = chart.keys
    lost = [
        key
        for key in given.values
        if key not in known | given.anchors and not str(key).startswith(_UNUSED)
    ]
    for key in lost:
        if fits(given.values[key], known):
            yield (
                f"{key} is no key of the chart, but those below it are: if this is for a chart of "
                f"your own that has Airflow's in it, give what yq '.{key}' {given.path.name} prints"
            )
        else:
            yield _told(given.below + str(key), str(key), known)
    if 2 * len(lost) > len(given.values) > 2:
        yield "are these values of another chart? airflow-helm's and Bitnami's have other keys"
    schema = chart.schema.get("properties", {})
    for key, value in given.values.items():
        if key in schema and key not in chart.subcharts:
            yield from _below(value, schema[key], chart.schema, f"{given.below}{key}")


def _below(
    value: Any, schema: Mapping[str, Any], root: Mapping[str, Any], at: str
) -> Iterator[str]:
    schema = _resolved(schema, root)
    if isinstance(value, list):
        for number, item in enumerate(value):
            name = item.get("name", number) if isinstance(item, dict) else number
            yield from _below(item, schema.get("items", {}), root, f"{at}[{name}]")
    if not isinstance(value, dict):
        return
    properties = schema.get("properties")
    further = schema.get("additionalProperties", not properties)
    for key, inner in value.items():
        if properties and key in properties:
            yield from _below(inner, properties[key], root, f"{at}.{key}")
        elif isinstance(further, dict):
            yield from _below(inner, further, root, f"{at}.{key}")
        elif not further:
            yield _told(f"{at}.{key}", str(key), properties or {})


def _resolved(schema: Mapping[str, Any], root: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a schema with what it refers to, within the same file, in its place."""
    reference = schema.get("$ref")
    if reference is None:
        return schema
    target: Any = root
    for part in str(reference).removeprefix("#/").split("/"):
        target = target.get(part, {}) if isinstance(target, dict) else {}
    return target if isinstance(target, dict) else {}


def _told(path: str, key: str, known: Any) -> str:
    close = nearest(key, map(str, known))
    meant = f" (meant {close}?)" if close else ""
    return f"{path} is no key of the chart{meant}"
