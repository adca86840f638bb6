"""A question at the door, for what lets it in."""

from __future__ import annotations

from typing import Any

from backend.chat.events import Header
from backend.chat.log import Log
from backend.chat.ports import Asking, Model
from backend.chat.requests import Caller, ChatRequest
from backend.providers.demo import Demo
from tests.fakes.runtime import ThreadSignal

DEMO = Model("demo", Demo(0), "demo", 8192)


def asking(header: Header, caller: Caller | None = None, model: Model = DEMO, **request: Any) -> Asking:
    who = caller or Caller(header.owner, header.address)
    return Asking(Log(header, ThreadSignal()), who, ChatRequest("Say hello", **request), model)
