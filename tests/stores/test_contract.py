"""What every store promises; a new store is one more row."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace

import pytest

from backend.chat.errors import IdempotencyMismatch, NotFound, SessionBusy, StreamExpired
from backend.chat.events import Delta, Entry, Failed, Header
from backend.chat.log import Log, LogClosed
from backend.chat.ports import SessionStore, StreamStore
from backend.chat.requests import Idempotency
from backend.chat.sessions import Message, Session
from backend.stores.memory import MemoryStreams
from backend.stores.sqlite import SWEEP_EVERY_S
from tests.stores.kinds import Stores, finished

KEY = Idempotency("scope", "key", "print")


@pytest.fixture
def streams(open_stores: Callable[..., Stores]) -> StreamStore:
    return open_stores().streams


@pytest.fixture
def sessions(open_stores: Callable[..., Stores]) -> SessionStore:
    return open_stores().sessions


def header(stream_id: str, session_id: str | None = None, owner: str = "", **fields: object) -> Header:
    made = Header(
        stream_id,
        owner,
        session_id,
        f"q-{stream_id}",
        f"m-{stream_id}",
        "demo",
        "2026-01-01T00:00:00.000000+00:00",
    )
    return replace(made, **fields)  # type: ignore[arg-type]


def session(session_id: str = "s", owner: str = "", at: str = "2026-01-01") -> Session:
    return Session(owner, session_id, None, None, None, at, at)


def question(n: int = 1, text: str = "why?") -> Message:
    return Message(f"q{n}", "user", text, "done", "2026-01-01")


def answer(n: int = 1) -> Message:
    return Message(f"a{n}", "assistant", "so", "done", "2026-01-02", "demo", 2, "stream", finished())


# Streams


def test_a_log_is_found_while_it_runs_and_after_it_ended_with_all_it_had(streams: StreamStore) -> None:
    entries: list[Entry] = ["a\x00b\u2028", Delta("", {"tool_calls": [{"index": 0}]}), "é😀"]
    log = streams.create(header("1", "s"))
    streams.append(log, entries[:1])
    streams.append(log, entries[1:])
    assert streams.get("", "1").read(0).entries == entries
    streams.close(log, finished())
    found = streams.get("", "1")
    assert (found.header, found.read(0).entries, found.closing) == (header("1", "s"), entries, finished())


def test_a_failure_is_kept_as_it_was(streams: StreamStore) -> None:
    log = streams.create(header("1"))
    failed = Failed("upstream_error", 502, "no", 0, "2999-01-01", 0.5)
    streams.close(log, failed)
    assert streams.get("", "1").closing == failed


def test_nothing_is_added_after_the_closing_and_the_first_closing_stays(streams: StreamStore) -> None:
    log = streams.create(header("1"))
    streams.close(log, finished())
    streams.close(log, Failed("internal", 500, "late", 0, "2999-01-01"))
    with pytest.raises(LogClosed):
        streams.append(log, ["late"])
    assert streams.get("", "1").closing == finished()


def test_unknown_streams_and_those_of_others_are_not_found_alike(streams: StreamStore) -> None:
    streams.close(streams.create(header("ended", owner="alice")), finished())
    streams.create(header("running", owner="alice"))
    sentences = set()
    for stream_id in ("unknown", "ended", "running"):
        for owner in ("bob", ""):
            with pytest.raises(NotFound) as refusal:
                streams.get(owner, stream_id)
            sentences.add(refusal.value.message)
    assert len(sentences) == 1


def test_a_session_has_one_running_answer_and_is_free_after_it(streams: StreamStore) -> None:
    log = streams.create(header("1", "s"))
    with pytest.raises(SessionBusy) as refusal:
        streams.create(header("2", "s"))
    assert refusal.value.extras["stream_id"] == "1"
    assert streams.running("", "s") is log
    assert streams.create(header("3", "s", owner="alice")), "another owner's session of that id is free"
    streams.close(log, finished())
    assert streams.running("", "s") is None
    assert streams.create(header("4", "s"))


def test_the_session_is_free_when_the_end_is_seen(streams: StreamStore) -> None:
    log = streams.create(header("1", "s"))
    seen: list[Log | None] = []

    def watch() -> None:
        if log.wait_closed(10):
            seen.append(streams.running("", "s"))

    watcher = threading.Thread(target=watch)
    watcher.start()
    streams.close(log, finished())
    watcher.join(10)
    assert seen == [None]


def test_answers_outside_sessions_run_side_by_side(streams: StreamStore) -> None:
    assert streams.create(header("1")) is not streams.create(header("2"))


def test_a_known_key_gives_its_log_running_or_ended(streams: StreamStore) -> None:
    assert streams.by_key(KEY) is None
    log = streams.create(header("1", "s", idempotency=KEY))
    assert streams.by_key(KEY) is log
    assert streams.create(header("2", "s", idempotency=KEY)) is log
    streams.close(log, finished())
    again = streams.create(header("3", "s", idempotency=KEY))
    assert (again.header.stream_id, again.closing) == ("1", finished())
    assert streams.running("", "s") is None


def test_a_key_with_another_body_is_refused_and_other_scopes_are_free(streams: StreamStore) -> None:
    streams.create(header("1", idempotency=KEY))
    for attempt in (
        lambda: streams.by_key(replace(KEY, fingerprint="other")),
        lambda: streams.create(header("2", idempotency=replace(KEY, fingerprint="other"))),
    ):
        with pytest.raises(IdempotencyMismatch):
            attempt()
    assert streams.by_key(replace(KEY, scope="elsewhere")) is None
    assert streams.create(header("3", idempotency=replace(KEY, scope="elsewhere"))).header.stream_id == "3"


def test_of_many_who_claim_a_session_or_a_key_at_once_one_wins(streams: StreamStore) -> None:
    barrier = threading.Barrier(20)
    ids: list[str] = []
    busy: list[str] = []

    def claim(n: int) -> None:
        barrier.wait()
        key = KEY if n % 2 else None
        try:
            ids.append(streams.create(header(str(n), "s", idempotency=key)).header.stream_id)
        except SessionBusy as refusal:
            busy.append(refusal.extras["stream_id"])

    claimers = [threading.Thread(target=claim, args=(n,)) for n in range(20)]
    for claimer in claimers:
        claimer.start()
    for claimer in claimers:
        claimer.join(10)
    assert len({*ids, *busy}) == 1
    assert len(ids) + len(busy) == 20


def test_a_discarded_log_frees_its_session_and_key_and_is_gone(streams: StreamStore) -> None:
    log = streams.create(header("1", "s", idempotency=KEY))
    streams.discard(log)
    assert streams.by_key(KEY) is None
    assert streams.running("", "s") is None
    with pytest.raises(NotFound):
        streams.get("", "1")


def test_forgetting_a_session_forgets_its_ended_streams_and_their_keys(streams: StreamStore) -> None:
    streams.close(streams.create(header("1", "s", idempotency=KEY)), finished())
    streams.close(streams.create(header("2", "t")), finished())
    streams.forget("", "s")
    with pytest.raises(NotFound):
        streams.get("", "1")
    assert streams.by_key(KEY) is None
    assert streams.get("", "2")


def test_a_stream_outlived_by_its_time_is_expired_and_its_key_free(
    open_stores: Callable[..., Stores],
) -> None:
    stores = open_stores(ttl_s=0.0)
    streams = stores.streams
    log = streams.create(header("1", idempotency=KEY))
    stores.runtime.ahead_s += SWEEP_EVERY_S
    streams.close(log, finished(at="2020-01-01T00:00:00.000000+00:00"))
    streams.sweep()
    assert streams.by_key(KEY) is None
    with pytest.raises((StreamExpired, NotFound)):
        streams.get("", "1")
    with pytest.raises(NotFound):
        streams.get("bob", "1")


def test_a_key_used_again_after_its_time_begins_a_new_answer(open_stores: Callable[..., Stores]) -> None:
    streams = open_stores(ttl_s=0.0).streams
    streams.close(streams.create(header("1", idempotency=KEY)), finished("2020-01-01T00:00:00.000000+00:00"))
    if isinstance(streams, MemoryStreams):
        streams.sweep()
    assert streams.by_key(KEY) is None
    assert streams.create(header("2", idempotency=KEY)).header.stream_id == "2"


def test_a_running_log_is_not_swept_away(open_stores: Callable[..., Stores]) -> None:
    streams = open_stores(ttl_s=0.0).streams
    log = streams.create(header("1", "s"))
    streams.sweep()
    assert streams.get("", "1") is log


# Sessions


def test_a_session_is_kept_as_it_was_made(sessions: SessionStore) -> None:
    made = Session("alice", "s", "Title", "demo", "be kind", "2026-01-01", "2026-01-01")
    sessions.create(made)
    assert sessions.get("alice", "s") == made
    assert sessions.get("bob", "s") is None
    assert sessions.get("", "s") is None


def test_a_question_makes_its_session_and_titles_it_once(sessions: SessionStore) -> None:
    sessions.ask(session(), question(1), "First")
    sessions.answer("", "s", answer(1))
    sessions.ask(session(), question(2), "Second")
    kept = sessions.get("", "s")
    assert kept
    assert (kept.title, kept.message_count, kept.created_at) == ("First", 3, "2026-01-01")
    assert kept.updated_at > "2026-01-01"


def test_messages_come_back_whole_and_in_order(sessions: SessionStore) -> None:
    odd = question(2, "NUL \x00 separators \u2028 emoji 😀 quotes ' \" \\")
    sessions.ask(session(), question(1), "t")
    sessions.answer("", "s", answer(1))
    sessions.ask(session(), odd, "t")
    assert list(sessions.messages("", "s")) == [question(1), answer(1), odd]
    assert sessions.find_message("", "s", "a1") == answer(1)
    assert sessions.find_message("", "s", "none") is None
    assert list(sessions.messages("bob", "s")) == []


def test_each_message_comes_back_after_the_one_it_was_put_after(sessions: SessionStore) -> None:
    """Asked, asked on, the second question asked again, the first one asked again."""
    told = [
        question(1),
        replace(answer(1), parent_id="q1"),
        replace(question(2), parent_id="a1"),
        replace(answer(2), parent_id="q2"),
        replace(question(3), parent_id="a1"),
        replace(answer(3), parent_id="q3"),
        question(4),
        replace(answer(4), parent_id="q4"),
    ]
    for message in told:
        if message.role == "user":
            sessions.ask(session(), message, "t")
        else:
            sessions.answer("", "s", message)
    assert list(sessions.messages("", "s")) == told
    assert [sessions.find_message("", "s", message.id) for message in told] == told
    assert sessions.find_message("alice", "s", "q1") is None
    assert sessions.find_message("", "t", "q1") is None


def test_an_answer_that_is_late_comes_after_its_own_question(sessions: SessionStore) -> None:
    late, next_question = replace(answer(1), parent_id="q1"), replace(question(2), parent_id="q1")
    sessions.ask(session(), question(1), "t")
    sessions.ask(session(), next_question, "t")
    sessions.answer("", "s", late)
    assert list(sessions.messages("", "s")) == [question(1), next_question, late]


def test_an_answer_saved_twice_is_there_once(sessions: SessionStore) -> None:
    sessions.ask(session(), question(1), "t")
    sessions.answer("", "s", answer(1))
    sessions.answer("", "s", answer(1))
    assert len(sessions.messages("", "s")) == 2
    assert sessions.get("", "s").message_count == 2  # type: ignore[union-attr]


def test_an_answer_to_a_session_that_is_gone_does_not_bring_it_back(sessions: SessionStore) -> None:
    sessions.ask(session(), question(1), "t")
    assert sessions.delete("", "s")
    sessions.answer("", "s", answer(1))
    assert sessions.get("", "s") is None
    assert list(sessions.messages("", "s")) == []
    assert not sessions.delete("", "s")


def test_a_deleted_session_takes_its_messages_along(sessions: SessionStore) -> None:
    sessions.ask(session(), question(1), "t")
    sessions.delete("", "s")
    sessions.ask(session(), question(1), "t")
    assert len(sessions.messages("", "s")) == 1


def test_changes_are_applied_and_nothing_else(sessions: SessionStore) -> None:
    sessions.create(Session("", "s", "Old", "demo", "be kind", "2026-01-01", "2026-01-01"))
    changed = sessions.update("", "s", {"title": "New", "system": None})
    assert changed
    assert (changed.title, changed.model, changed.system) == ("New", "demo", None)
    assert sessions.get("", "s") == changed
    assert changed.updated_at > "2026-01-01"
    assert sessions.update("", "none", {"title": "x"}) is None


def test_a_list_shows_the_owners_newest_first_page_by_page(sessions: SessionStore) -> None:
    for n in range(7):
        sessions.create(session(f"s{n}", "alice", f"2026-01-0{n // 2 + 1}"))
    sessions.create(session("x", "bob"))
    whole = [found.session_id for found in sessions.list("alice", 10, None)]
    assert whole == ["s6", "s5", "s4", "s3", "s2", "s1", "s0"]
    seen: list[str] = []
    before = None
    while page := sessions.list("alice", 3, before):
        seen += [found.session_id for found in page]
        before = (page[-1].updated_at, page[-1].session_id)
    assert seen == whole
    assert list(sessions.list("nobody", 10, None)) == []


def test_questions_of_many_at_once_are_all_kept(sessions: SessionStore) -> None:
    def ask(n: int) -> None:
        for m in range(10):
            sessions.ask(session(f"s{n % 5}"), question(n * 100 + m), "t")

    askers = [threading.Thread(target=ask, args=(n,)) for n in range(10)]
    for asker in askers:
        asker.start()
    for asker in askers:
        asker.join(20)
    assert sum(len(sessions.messages("", f"s{n}")) for n in range(5)) == 100
