from __future__ import annotations

from collections.abc import Sequence

import pytest

from backend.chat.errors import ModelNotFound
from backend.chat.events import Price
from backend.chat.ports import Model
from backend.config import Config
from backend.models import dearest_of, offer
from backend.models_file import GroupRow, MemberRow
from backend.providers.catalog import Catalog
from backend.providers.demo import Demo

ONE, TWO = Model("one", Demo(0), "one", 100), Model("two", Demo(0), "two", 100)
MADE: list[str] = []


def group(name: str, members: Sequence[str]) -> Model:
    MADE.append(name)
    return Model(name, Demo(0), ",".join(members), 100)


def test_groups_come_change_and_go_and_models_stay() -> None:
    catalog = Catalog([ONE, TWO], group=group)
    catalog.regroup({"a": ["one", "gone", "two"], "b": ["gone"], "one": ["two"]})
    assert catalog.names == ["one", "two", "a"]
    assert catalog.find("a").upstream_name == "one,two"
    assert catalog.find("one") is ONE
    assert (catalog.is_fixed("one"), catalog.is_fixed("a")) == (True, False)
    kept = catalog.find("a")
    catalog.regroup({"a": ["one", "two"], "c": ["two"]})
    assert catalog.find("a") is kept, "it goes on with what it knows of its members"
    catalog.regroup({"a": ["two"]})
    assert catalog.find("a").upstream_name == "two"
    catalog.regroup({})
    assert catalog.names == ["one", "two"]
    with pytest.raises(ModelNotFound):
        catalog.find("a")


def test_what_is_offered_makes_groups_of_models_only() -> None:
    told = GroupRow("told", (MemberRow("demo", None, 0, 1),), 1.0)
    offered = offer(Config(groups=(told,), prices={"demo": Price(3, 4, 1)}))
    assert [model.name for model in offered.models] == ["demo", "told"]
    assert offered.single == {"demo"}
    assert offered.group("mine", ["demo"]).dearest == Price(3, 4, 1)
    for wrong in ("told", "nothing"):
        with pytest.raises(ModelNotFound):
            offered.group("mine", [wrong])


def test_the_dearest_is_at_least_as_dear_as_each() -> None:
    assert dearest_of([Price(1, 9, 0), Price(5, 2, 1)]) == Price(5, 9, 1)
    assert dearest_of([]) is None
