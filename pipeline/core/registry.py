"""The name written in params.yaml is the name of the file: finding a class, and its settings, by that name."""

from __future__ import annotations

import functools
import importlib
import inspect
import pkgutil
from types import ModuleType
from typing import Any, TypeVar, get_type_hints

from pydantic import create_model

from pipeline.core.errors import UserError
from pipeline.core.schema import Section

Base = TypeVar("Base")


def names(package: ModuleType) -> list[str]:
    """The names one may write in params.yaml: the files of the folder."""
    modules = pkgutil.iter_modules(package.__path__)
    return sorted(module.name for module in modules if not module.ispkg and not module.name.startswith("_"))


def find(package: ModuleType, base: type[Base], name: str) -> type[Base]:
    """The one class of `<package>/<name>.py` that extends `base`.

    Raises:
        UserError: no such file; the sentence lists the names there are.
    """
    if name not in names(package):
        kind = base.__name__.lower()
        raise UserError(f"there is no {kind} {name!r}; there is {', '.join(names(package))}.")
    module = importlib.import_module(f"{package.__name__}.{name}")
    classes = [
        value
        for value in vars(module).values()
        if inspect.isclass(value) and issubclass(value, base) and value.__module__ == module.__name__
    ]
    if len(classes) != 1:
        raise UserError(f"{module.__file__} must hold exactly one {base.__name__}, but it holds {len(classes)}.")
    return classes[0]


@functools.cache
def settings_of(cls: type) -> type[Section]:
    """The settings a class takes, as a checked section: its constructor's keyword-only arguments and their types."""
    hints = get_type_hints(cls.__init__, include_extras=True)  # type: ignore[misc]
    fields: dict[str, Any] = {
        argument.name: (hints[argument.name], ... if argument.default is argument.empty else argument.default)
        for argument in inspect.signature(cls).parameters.values()
        if argument.kind is argument.KEYWORD_ONLY
    }
    return create_model(f"{cls.__name__}Settings", __base__=Section, **fields)
