"""Words of a scenario: whether there is such a one, and what its writer may have meant."""

from collections.abc import Collection, Iterable, Mapping
from typing import Any, TypeVar

import yaml

from common.nearest import nearest

T = TypeVar("T")


def known(written: Any, there: Mapping[str, T], complaint: str) -> T:
    """Return what has a name; ValueError with the nearest name there is."""
    name = written if isinstance(written, str) else flow(written)
    if name in there:
        return there[name]
    raise ValueError(f"{complaint}: {name} ({hint(name, there)})")


def hint(name: str, there: Collection[str]) -> str:
    """Say which of the words that there are is nearest to one that there is not, or all of them."""
    near = nearest(name, there)
    return f"did you mean {near}?" if near else f"there are {', '.join(there) or 'none'}"


def check_keys(written: Iterable[str], there: Collection[str], complaint: str) -> None:
    """Raise ValueError with every key that there is not, and what may be meant by each."""
    if unknown := sorted(set(written) - set(there)):
        told = ", ".join(f"{each} ({hint(each, sorted(there))})" for each in unknown)
        raise ValueError(f"{complaint} {told}")


def flow(value: Any) -> str:
    """Return a value as YAML writes it in one line: `{state: queued, count: 2}`."""
    text = yaml.safe_dump(plain(value), default_flow_style=True, sort_keys=False, width=10**6)
    return text.removesuffix("...\n").strip()


def plain(value: Any) -> Any:
    """Return a value of YAML in Python's own dicts and lists."""
    if isinstance(value, Mapping):
        return {key: plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    return value
