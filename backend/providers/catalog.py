"""The models callers may ask for, by name."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence

from backend.chat.errors import Misconfigured, ModelNotFound
from backend.chat.ports import Model

logger = logging.getLogger(__name__)


class Catalog:
    """`chat.ports.Models`: the first model of a name wins; `default` None is the first of all.

    Besides those it begins with, which stay, there are groups that come and go.
    """

    def __init__(
        self,
        models: Sequence[Model],
        default: str | None = None,
        group: Callable[[str, Sequence[str]], Model] | None = None,
    ) -> None:
        """`group` makes one of its name and its members. Raises ModelNotFound for a member that is none."""
        self._models: dict[str, Model] = {}
        for model in models:
            self._models.setdefault(model.name, model)
        self._group = group
        self._groups: dict[str, tuple[tuple[str, ...], Model]] = {}
        self.default = default or models[0].name
        if self.default not in self._models:
            raise Misconfigured(f"DEFAULT_MODEL={default} is none of the models: {', '.join(self._models)}")

    @property
    def names(self) -> list[str]:
        return [model.name for model in self.all]

    @property
    def all(self) -> list[Model]:
        return [*self._models.values(), *(model for _, model in self._groups.values())]

    def find(self, name: str | None) -> Model:
        wanted = name or self.default
        model = self._models.get(wanted)
        if model is None and wanted in self._groups:
            model = self._groups[wanted][1]
        if model is None:
            raise ModelNotFound("There is no such model here; GET /v1/models lists those there are")
        return model

    def is_fixed(self, name: str) -> bool:
        """Whether no group can have this name."""
        return name in self._models

    def regroup(self, groups: Mapping[str, Sequence[str]]) -> None:
        """Have these groups and no others. One whose members stay goes on with what it knows of them; members
        that there are not are left out."""
        found: dict[str, tuple[tuple[str, ...], Model]] = {}
        for name, members in groups.items():
            there = tuple(member for member in members if member in self._models)
            known = self._groups.get(name)
            if name in self._models or self._group is None:
                continue
            if known is not None and known[0] == there:
                found[name] = known
                continue
            try:
                if there:
                    found[name] = there, self._group(name, there)
            except ModelNotFound as exc:
                logger.warning("the model group %s is left out: %s", name, exc)
        self._groups = found
