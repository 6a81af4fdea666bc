"""A YAML file, as of a scenario: its mappings know their lines, for whoever has to say where."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from common.errors import UserError
from scenarios.words import flow


class MistakeError(ValueError):
    """A file says what cannot be; `line` is where, 0 for where nobody knows."""

    def __init__(self, message: str, line: int = 0) -> None:
        super().__init__(message)
        self.line = line


class _Mapping(dict[str, Any]):
    """A mapping of a YAML file that knows the lines of its keys, counted from 1."""

    lines: Mapping[str, int]


class _Loader(yaml.SafeLoader):
    """Reads mappings with their lines, and refuses a key that stands twice."""


def _mapping(loader: _Loader, node: yaml.MappingNode) -> Iterator[_Mapping]:
    made = _Mapping()
    yield made
    seen: set[str] = set()
    for key, _ in node.value:
        problem = "a key must be text"
        if isinstance(key, yaml.ScalarNode):
            problem = f"the key {key.value} stands twice; write it once" * (key.value in seen)
        if problem:
            raise yaml.MarkedYAMLError(problem=problem, problem_mark=key.start_mark)
        seen.add(key.value)
    # By its text: YAML takes the key `on` for true.
    values = loader.construct_mapping(node)
    made.update({str(key.value): values[loader.construct_object(key)] for key, _ in node.value})
    made.lines = {str(key.value): key.start_mark.line + 1 for key, _ in node.value}


_Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)


@contextmanager
def at(mapping: Mapping[str, Any], key: str) -> Iterator[None]:
    """Give a mistake that is made with a key that key's line, unless it has its own."""
    try:
        yield
    except (UserError, ValueError) as error:
        if isinstance(error, MistakeError) and error.line:
            raise
        raise MistakeError(str(error), line_of(mapping, key)) from error


def line_in(error: Exception) -> int:
    """Return the line that an error tells, counted from 1; 0 where it tells none."""
    return error.line if isinstance(error, MistakeError) else 0


def line_of(mapping: Mapping[str, Any], key: str) -> int:
    """Return the line of a key, counted from 1; 0 where nobody knows."""
    return int(getattr(mapping, "lines", {}).get(key, 0))


def mapping(data: Any, what: str) -> Mapping[str, Any]:
    """Return what must be a mapping, with something in it; ValueError where it is not."""
    if data in (None, {}, [], ""):
        raise ValueError(f"{what} is empty; it must be a mapping (`key: value`)")
    if not isinstance(data, Mapping):
        raise ValueError(f"{what} must be a mapping (`key: value`), not {flow(data)[:60]}")
    return data


def read(path: Path) -> Any:
    """Return what a YAML file says. MistakeError, with its line, for a file that cannot be read."""
    try:
        return yaml.load(path.read_text(encoding="utf-8"), _Loader)
    except OSError as error:
        raise MistakeError(f"it cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise MistakeError("it is not UTF-8 text; save it as UTF-8", line) from error
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 0
        raise MistakeError(f"it cannot be read as YAML: {error.problem}", line) from error
    except (yaml.YAMLError, ValueError) as error:
        said = " ".join(str(error).split())
        raise MistakeError(f"it cannot be read as YAML: {said}") from error
    except RecursionError as error:
        raise MistakeError("it cannot be read as YAML: it is nested too deeply") from error
