"""A conversation's messages as a tree: who asks again at an earlier place makes another version of the rest.

The message that one comes after is its `parent_id`, and stands before it.
"""

from __future__ import annotations

from collections.abc import Sequence

from backend.chat.errors import NotFound
from backend.chat.sessions import Message


def path_to(messages: Sequence[Message], message_id: str | None) -> Sequence[Message]:
    """The messages from the beginning to this one, which is the last; empty if it is not among them. One
    pass, which no parents can keep from ending."""
    path: list[Message] = []
    for message in reversed(messages):
        if message.id == message_id:
            path.append(message)
            message_id = message.parent_id
    return path[::-1]


def newest_path(messages: Sequence[Message]) -> Sequence[Message]:
    """The conversation that the newest message is in."""
    return path_to(messages, messages[-1].id) if messages else ()


def unknown_message() -> NotFound:
    return NotFound("There is no such message in this session")
