"""A model's instance while its JSON is still being written."""

from __future__ import annotations

import re
import types
from functools import lru_cache
from typing import Any, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import from_json

M = TypeVar("M", bound=BaseModel)

_FENCE = re.compile(r"\A\s*```(?:json)?\s*\n", re.IGNORECASE)
"""Which some models put around JSON."""


def partial(model: type[M], text: str) -> M | None:
    """What is there of it so far; None before the object begins.

    Texts and lists grow. What is not there yet, or not whole (half a number would be another one), has its
    field's default, else None. Nothing is validated as a whole before its end.
    """
    text = _FENCE.sub("", text)
    try:
        data = from_json(_without_open_number(text).encode(), allow_partial="trailing-strings")
    except ValueError:
        return None
    return _instance(model, data) if isinstance(data, dict) else None


def _without_open_number(text: str) -> str:
    """A number at the end may go on. Inside a text digits are text, which loses nothing for long: they are
    back with the next character."""
    return text.rstrip("0123456789.eE+-") if text[-1:] in "0123456789.eE+-" else text


def _instance(model: type[M], data: dict[str, Any]) -> M:
    values: dict[str, Any] = {}
    for name, field in model.model_fields.items():
        key = next((key for key in _keys(name, field) if key in data), None)
        value = None if key is None else _grown(field.annotation, data[key])
        if value is None and (key is None or data[key] is not None):
            value = None if field.is_required() else field.get_default(call_default_factory=False)
            if value is None and field.default_factory in (list, dict, set, tuple):
                value = field.default_factory()
        values[name] = value
    return model.model_construct(set(values), **values)


def _keys(name: str, field: FieldInfo) -> tuple[str, ...]:
    alias = field.validation_alias if isinstance(field.validation_alias, str) else field.alias
    return (alias, name) if alias else (name,)


def _grown(annotation: Any, value: Any) -> Any:
    """This value as far as it is one of that type, else None."""
    if isinstance(value, dict) and (model := _model_in(annotation)) is not None:
        return _instance(model, value)
    if isinstance(value, list) and (item := _item_of(annotation)) is not None:
        return [grown for each in value if (grown := _grown(item, each)) is not None or each is None]
    try:
        return _adapter(annotation).validate_python(value)
    except (ValidationError, TypeError):
        return None


def _arms(annotation: Any) -> tuple[Any, ...]:
    """What a union is of; else the type itself."""
    return get_args(annotation) if get_origin(annotation) in (Union, types.UnionType) else (annotation,)


def _model_in(annotation: Any) -> type[BaseModel] | None:
    """The only model that it can be."""
    models = [arm for arm in _arms(annotation) if isinstance(arm, type) and issubclass(arm, BaseModel)]
    return models[0] if len(models) == 1 else None


def _item_of(annotation: Any) -> Any:
    items = [get_args(arm)[0] for arm in _arms(annotation) if get_origin(arm) is list and get_args(arm)]
    return items[0] if len(items) == 1 else None


@lru_cache(maxsize=1024)
def _adapter(annotation: Any) -> TypeAdapter[Any]:
    return TypeAdapter(annotation)
