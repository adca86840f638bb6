"""The models callers may ask for, by name."""

from __future__ import annotations

from collections.abc import Sequence

from backend.chat.errors import Misconfigured, ModelNotFound
from backend.chat.ports import Model


class Catalog:
    """`chat.ports.Models`: the first model of a name wins; `default` None is the first of all."""

    def __init__(self, models: Sequence[Model], default: str | None = None) -> None:
        self._models: dict[str, Model] = {}
        for model in models:
            self._models.setdefault(model.name, model)
        self.default = default or models[0].name
        if self.default not in self._models:
            raise Misconfigured(f"DEFAULT_MODEL={default} is none of the models: {', '.join(self._models)}")

    @property
    def names(self) -> list[str]:
        return list(self._models)

    @property
    def all(self) -> list[Model]:
        return list(self._models.values())

    def find(self, name: str | None) -> Model:
        model = self._models.get(name or self.default)
        if model is None:
            raise ModelNotFound("There is no such model here; GET /v1/models lists those there are")
        return model
