"""Faults by their names, made from plain values: what a scenario's YAML can say of one."""

import dataclasses
import inspect
import pkgutil
from collections.abc import Mapping
from importlib import import_module
from typing import Any

import msgspec

import chaos
from chaos.base import Fault
from common.errors import UserError
from common.nearest import did_you_mean


def names() -> list[str]:
    """Return the names of all faults that there are."""
    modules = (each.name.replace("_", "-") for each in pkgutil.iter_modules(chaos.__path__))
    return sorted(name for name in modules if _class_of(name))


def fault(name: str, process: str | None = None, values: Mapping[str, Any] | None = None) -> Any:
    """Return the fault of a name with these values for its fields; `process` is a role.

    A fault that disturbs nobody in particular takes no process. Raises UserError for a name that
    there is not, for a field that it does not have or lacks, and for a value that cannot be.
    """
    kind = _class_of(name)
    if kind is None:
        all_of_them = f"There are {', '.join(names())}."
        raise UserError(
            f"No fault is called {name!r}.", did_you_mean(name, names(), otherwise=all_of_them)
        )
    given = {**(values or {}), **({} if process is None else {"process": process})}
    fields = {each.name for each in dataclasses.fields(kind) if each.init}
    if unknown := sorted(given.keys() - fields):
        raise UserError(
            f"The fault {name} does not take {', '.join(unknown)}.",
            f"It takes {', '.join(sorted(fields))}.",
        )
    if missing := sorted(_required(kind) - given.keys()):
        raise UserError(
            f"The fault {name} takes {', '.join(missing)}, which is not given.",
            "A scenario gives its process by `on`, all else by `with`.",
        )
    try:
        return msgspec.convert(given, kind)
    except msgspec.ValidationError as error:
        raise UserError(f"The fault {name} cannot be made: {error}.") from error


def _required(kind: type[Fault[Any]]) -> set[str]:
    none = dataclasses.MISSING
    return {
        each.name
        for each in dataclasses.fields(kind)
        if each.init and each.default is none and each.default_factory is none
    }


def _class_of(name: str) -> type[Fault[Any]] | None:
    """Return the class of a fault, which stands in the file of its name."""
    module = name.replace("-", "_")
    if module not in {each.name for each in pkgutil.iter_modules(chaos.__path__)}:
        return None
    for _, found in inspect.getmembers(import_module(f"chaos.{module}"), inspect.isclass):
        if issubclass(found, Fault) and getattr(found, "name", None) == name:
            return found
    return None
