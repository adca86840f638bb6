"""Model groups that come and go: those of the ledger, over those that are there by default."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from backend.chat.errors import Conflict, InvalidRequest, NotFound
from backend.chat.ports import Runtime
from backend.ledger.desk import Desk

EVERY_S = 5.0
"""How long one that was changed by another process may stay as it was."""


class Grouping:
    """Models, groups of MODELS_FILE and these groups have their names in common: what stands fast has its
    name first."""

    def __init__(
        self,
        desk: Desk,
        runtime: Runtime,
        defaults: Mapping[str, Sequence[str]],
        fixed: Mapping[str, Sequence[str]],
        single: frozenset[str],
        is_fixed: Callable[[str], bool],
        regroup: Callable[[Mapping[str, Sequence[str]]], None],
    ) -> None:
        """`fixed` are the groups of MODELS_FILE, `single` the models that can be members, `is_fixed` whether
        a name is one of either. `regroup` has all those groups, and no others, be models."""
        self._desk = desk
        self._runtime = runtime
        self._defaults = defaults
        self._fixed = fixed
        self._single = single
        self._is_fixed = is_fixed
        self._regroup = regroup
        self._next_s = 0.0
        self._regroup(defaults)

    def tend(self) -> None:
        """To be called every second or so. Raises Unavailable."""
        now_s = self._runtime.monotonic()
        if now_s >= self._next_s and self._desk.in_use:
            self._next_s = now_s + EVERY_S
            self._refresh()

    def every(self) -> dict[str, tuple[str, Sequence[str]]]:
        """By name, where each is from (`file`, `default` or `admin`) and its members."""
        kept = self._desk.accounts.groups()
        return {
            **{name: ("default", members) for name, members in self._defaults.items()},
            **{name: ("admin", members) for name, members in kept.items()},
            **{name: ("file", members) for name, members in self._fixed.items()},
        }

    def put(self, name: str, members: Sequence[str]) -> None:
        """Make it, or give it other members. Raises Conflict for a name that stands fast, and InvalidRequest
        for a member that is no model."""
        self._check(name)
        if len(set(members)) < len(members):
            raise InvalidRequest("members must be different models")
        for member in members:
            if member not in self._single:
                raise InvalidRequest(f"There is no model {member!r} that could be in a group")
        self._desk.accounts.put_group(name, members)
        self._refresh()

    def delete(self, name: str) -> None:
        """Raises NotFound, and Conflict for one that stands fast."""
        self._check(name)
        if not self._desk.accounts.delete_group(name):
            if name in self._defaults:
                raise Conflict(f"The model group {name} is there by default; give it other members instead")
            raise NotFound("There is no such model group")
        self._refresh()

    def _check(self, name: str) -> None:
        if name in self._fixed:
            raise Conflict(f"The model group {name} is told in MODELS_FILE; change it there")
        if self._is_fixed(name):
            raise Conflict(f"{name} is the name of a model; take another")

    def _refresh(self) -> None:
        self._regroup({**self._defaults, **self._desk.accounts.groups()})
