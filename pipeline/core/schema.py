"""Checked sections of YAML. What is wrong gets one sentence: the key, what was found, what was expected."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Iterable, Mapping
from typing import Any, ClassVar, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError, model_validator
from pydantic_core import ErrorDetails, PydanticCustomError

from pipeline.core.errors import UserError


class Section(BaseModel):
    """A section of keys: no unknown key, no silent conversion of types."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)
    renamed: ClassVar[dict[str, str]] = {}
    """Old name of a key → the name it has now."""

    @model_validator(mode="before")
    @classmethod
    def _check_keys(cls, values: Any) -> Any:
        """Refuse unknown and missing keys before any value: a misspelt key is otherwise reported as a missing one."""
        if isinstance(values, dict):
            for key in values:
                if key in cls.renamed:
                    raise _key_error(key, f"is now called {cls.renamed[key]}")
                if key not in cls.model_fields:
                    raise _key_error(key, f"is unknown{did_you_mean(key, cls.model_fields)}", cls.model_fields)
            for key, field in cls.model_fields.items():
                if field.is_required() and key not in values:
                    raise _key_error(key, "is missing", cls.model_fields)
        return values


def _key_error(key: object, problem: str, takes: Iterable[str] = ()) -> PydanticCustomError:
    """The error of a key. `_sentence` puts the key's place before it, and the section before what it takes."""
    return PydanticCustomError("key", "{key} {problem}", {"key": key, "problem": problem, "takes": ", ".join(takes)})


Schema = TypeVar("Schema", bound=Section)


def check(schema: type[Schema], values: Any, name: str, keys: Mapping[str, str] | None = None) -> Schema:
    """The section that `values` describe.

    Args:
        name: of the section, for the sentence "<name> takes …".
        keys: key of `values` → how the sentence calls it, e.g. `variants.vq.quantizer.beta`.

    Raises:
        UserError: an unknown or missing key, a wrong type, a value out of range.
    """
    try:
        return schema.model_validate(values)
    except ValidationError as error:
        raise UserError(_sentence(error.errors(), values, name, keys or {})) from None


def matching(pattern: str, expected: str) -> AfterValidator:
    """A text that matches the whole pattern."""

    def matched(text: str) -> str:
        if not re.fullmatch(pattern, text):
            raise ValueError(f"be {expected}")
        return text

    return AfterValidator(matched)


def did_you_mean(word: object, words: Iterable[str]) -> str:
    near = difflib.get_close_matches(str(word), list(words), 1)
    return f" (is {near[0]!r} meant?)" if near else ""


def require(place: str, names: Iterable[str], known: Collection[str]) -> None:
    """Check that all names are known.

    Raises:
        UserError: one is not.
    """
    for name in names:
        if name not in known:
            raise UserError(f"{place} names {name!r}{did_you_mean(name, known)}, but there is {', '.join(known)}.")


def _sentence(errors: list[ErrorDetails], values: Any, name: str, keys: Mapping[str, str]) -> str:
    first = errors[0]
    path, value = _locate(values, first["loc"])
    context = first.get("ctx", {})
    if first["type"] == "key":
        takes = f"; {path[-1] if path else name} takes {context['takes']}" if context["takes"] else ""
        return f"{_dotted((*path, context['key']), keys)} {context['problem']}{takes}."
    same = [error for error in errors if _locate(values, error["loc"])[0] == path]  # one per type it might have had
    expected = " or ".join(dict.fromkeys(map(_expected, same))).replace(" or be ", " or ")
    hint = f" (write [{value}])" if isinstance(value, str) and "valid list" in expected else ""
    return f"{_dotted(path, keys) or name} is {value!r}, but should {expected}{hint}."


def _locate(values: Any, location: tuple[int | str, ...]) -> tuple[tuple[int | str, ...], Any]:
    """The part of pydantic's location that is in the file, without the names of types, and the value there."""
    path: tuple[int | str, ...] = ()
    for step in location:
        inside = isinstance(step, int) if isinstance(values, list) else isinstance(values, dict) and step in values
        if not inside:
            break
        path, values = (*path, step), values[step]
    return path, values


def _dotted(path: tuple[int | str, ...], keys: Mapping[str, str]) -> str:
    """`grid.seeds[1]` from its steps, the first one as `keys` call it."""
    text = ""
    for step in path:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else keys.get(step, step)
    return text


def _expected(error: ErrorDetails) -> str:
    if error["type"] == "too_short":
        return f"have at least {error['ctx']['min_length']} item"
    if error["type"] in ("model_type", "dict_type"):
        return "be a section of keys"
    return error["msg"].removeprefix("Value error, ").removeprefix("Input ").removeprefix("should ")
