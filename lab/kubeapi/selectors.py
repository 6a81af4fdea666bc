"""Label and field selectors, compiled once a request and matched once a change and watcher."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from lab.kubeapi.status import bad_request

# Commas inside parentheses belong to a set of values.
_COMMA = re.compile(r",(?![^()]*\))")
_SET = re.compile(r"\s*([^\s()!=,]+)\s+(in|notin)\s*\(([^()]*)\)\s*")
_EQUALITY = re.compile(r"\s*([^\s()!=,]+)\s*(==|=|!=)\s*([^\s()!=,]*)\s*")
_EXISTENCE = re.compile(r"\s*(!?)\s*([^\s()!=,]+)\s*")
_FIELD = re.compile(r"([^!=]+?)(==|=|!=)(.*)")


@dataclass(frozen=True)
class Requirement:
    """One condition: the key's value is among `values`, or the key exists where they are None.

    `wanted` False turns it round; a key that is absent satisfies `!=` and `notin`, as the
    Kubernetes documentation of labels has it.
    """

    key: str
    values: frozenset[str] | None
    wanted: bool

    def holds(self, of: Mapping[str, str]) -> bool:
        """Return whether labels (or fields) satisfy the condition."""
        if self.values is None:
            return (self.key in of) is self.wanted
        return (of.get(self.key) in self.values) is self.wanted


@dataclass(frozen=True)
class Selector:
    """All the conditions of a request; without any it matches every object."""

    labels: tuple[Requirement, ...] = ()
    fields: tuple[Requirement, ...] = ()

    def matches(self, labels: Mapping[str, str], fields: Mapping[str, str]) -> bool:
        """Return whether an object with these labels and fields is selected."""
        for requirement in self.labels:
            if not requirement.holds(labels):
                return False
        return all(requirement.holds(fields) for requirement in self.fields)


def parse(label_selector: str, field_selector: str, fields: Iterable[str]) -> Selector:
    """Compile both selectors of a request; `fields` are those the resource can be selected by.

    Raises ApiError 400 on what Kubernetes' grammar does not have.
    """
    return Selector(_labels(label_selector), _fields(field_selector, frozenset(fields)))


def _labels(text: str) -> tuple[Requirement, ...]:
    if not text.strip():
        return ()
    return tuple(_label(part) for part in _COMMA.split(text))


def _label(text: str) -> Requirement:
    if found := _EQUALITY.fullmatch(text):
        key, operator, value = found.groups()
        return Requirement(key, frozenset({value}), operator != "!=")
    if found := _SET.fullmatch(text):
        key, operator, listed = found.groups()
        values = frozenset(value.strip() for value in listed.split(","))
        return Requirement(key, values, operator == "in")
    if found := _EXISTENCE.fullmatch(text):
        return Requirement(found[2], None, not found[1])
    raise bad_request(f"unable to parse requirement: {text!r}")


def _fields(text: str, known: frozenset[str]) -> tuple[Requirement, ...]:
    requirements = []
    for part in filter(None, text.split(",")):
        found = _FIELD.fullmatch(part.strip())
        if not found:
            raise bad_request(f"invalid selector: {text!r}; can't understand {part!r}")
        key, operator, value = found.groups()
        if key not in known:
            raise bad_request(f"field label not supported: {key}")
        requirements.append(Requirement(key, frozenset({value}), operator != "!="))
    return tuple(requirements)
