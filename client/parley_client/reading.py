"""What answers are made of: typed, and readable as mappings, too."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from parley_client.errors import BadAnswer

_ABSENT: Any = object()


class Reading(BaseModel):
    """A JSON object: `reading.name` and `reading["name"]`. Fields that are not known here are kept.

    As a mapping it has what the server sent. `in`, `get` and `keys` take null for nothing sent, so that
    `if "content" in delta` means that there is some; `reading["content"]` gives the null.
    """

    model_config = ConfigDict(extra="allow", frozen=True, protected_namespaces=())

    def __getitem__(self, name: str) -> Any:
        if name in self.model_fields_set:
            return getattr(self, name)
        raise KeyError(name)

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and self.get(name, _ABSENT) is not _ABSENT

    def get(self, name: str, default: Any = None) -> Any:
        value = getattr(self, name) if name in self.model_fields_set else None
        return default if value is None else value

    def keys(self) -> Iterator[str]:
        return (name for name in sorted(self.model_fields_set) if name in self)


R = TypeVar("R", bound=Reading)


def read(kind: type[R], data: object) -> R:
    """The object that JSON tells of. Raises BadAnswer."""
    try:
        return kind.model_validate(data)
    except ValidationError as exc:
        wrong = "; ".join(f"{'.'.join(map(str, error['loc']))}: {error['msg']}" for error in exc.errors())
        raise BadAnswer(f"The server sent something that is no {kind.__name__}: {wrong[:500]}") from exc
