from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace

import pytest

from backend.chat.caps import Caps
from backend.chat.context import estimate_tokens
from backend.chat.errors import (
    IdempotencyMismatch,
    ModelNotFound,
    NotFound,
    Refused,
    SessionBusy,
    Unavailable,
    UpstreamError,
    UpstreamTimeout,
)
from backend.chat.events import Closing, Delta, Failed, Finished, Header, Price, Route, Try, Usage
from backend.chat.log import Log
from backend.chat.peers import Alone
from backend.chat.ports import Asking, Ended
from backend.chat.requests import Caller, ChatRequest, Completion
from backend.chat.tasks import PIECES_PER_TOKEN, Limits
from tests.chat.world import ALICE, BOB, HELLO, ME, World
from tests.fakes.provider import Scripted, saying, until_stopped


class Held:
    """A call that is reached, and goes on when it is let go."""

    def __init__(self, call: Callable[..., None]) -> None:
        self.reached, self.let_go = threading.Event(), threading.Event()
        self._call = call

    def __call__(self, *arguments: object) -> None:
        self.reached.set()
        assert self.let_go.wait(10)
        self._call(*arguments)


def test_an_answer_is_streamed_saved_and_closed(world: Callable[..., World]) -> None:
    here = world(saying("one two three"))
    log = here.engine.open(ME, HELLO)
    batches = [batch for batch in here.engine.follow(log) if batch]
    assert [entry for batch in batches for entry in batch.entries] == ["one", "two", "three"]
    closing = here.ended(log)
    assert isinstance(closing, Finished)
    assert (closing.finish_reason, closing.tokens) == ("stop", 3)
    question, answer = here.sessions.messages("", "s")
    assert (question.role, question.content) == ("user", "hello")
    assert (answer.content, answer.status, answer.tokens, answer.closing) == (
        "onetwothree",
        "done",
        3,
        closing,
    )
    session = here.sessions.get("", "s")
    assert session
    assert (session.title, session.message_count) == ("hello", 2)


def test_the_answer_is_in_the_session_before_its_reader_sees_the_end(world: Callable[..., World]) -> None:
    here = world(saying("done"))
    log = here.engine.open(ME, HELLO)
    for batch in here.engine.follow(log):
        if batch and batch.closing:
            assert here.answer().content == "done"
            assert here.engine.open(ME, HELLO), "the session is free again"


def test_the_usage_is_the_upstreams_and_else_an_estimate(world: Callable[..., World]) -> None:
    said = Usage(7, 8, 15)
    told = world(Scripted(["a"], Ended("stop", said)))
    assert told.ended(told.engine.open(ME, HELLO)).usage == said
    untold = world(Scripted(["a"], ["b"], Ended("stop")))
    usage = untold.ended(untold.engine.open(ME, HELLO)).usage
    assert usage.estimated
    assert usage.completion_tokens == estimate_tokens("ab")


def test_what_was_used_is_known_of_an_answer_that_broke_off(world: Callable[..., World]) -> None:
    here = world(Scripted(["Hello"], [Delta("", {"reasoning_content": "hmm"})], UpstreamError("down")))
    failed = here.ended(here.engine.open(ME, HELLO))
    assert isinstance(failed, Failed)
    assert failed.usage is not None
    assert failed.usage.completion_tokens == estimate_tokens("Hellohmm")
    assert failed.usage.prompt_tokens >= estimate_tokens("hello")
    nothing = world(Scripted(UpstreamError("down")))
    assert nothing.ended(nothing.engine.open(ME, HELLO)).usage is None


def test_an_answer_ends_whatever_becomes_of_counting_its_tokens(
    world: Callable[..., World], caplog: pytest.LogCaptureFixture
) -> None:
    def fails(text: str) -> int:
        raise RuntimeError("no vocabulary")

    here = world(Scripted(["Hello"], Ended("stop")), count_tokens=fails)
    closing = here.ended(here.engine.open(ME, HELLO))
    assert isinstance(closing, Finished)
    assert closing.usage.completion_tokens == estimate_tokens("Hello")
    assert "could not be counted" in caplog.text


def test_a_price_is_the_models_unless_its_group_knows_better(world: Callable[..., World]) -> None:
    own, better = Price(1, 1, 1), Price(2, 2, 2)
    for told, expected in ((None, own), (better, better)):
        here = world(Scripted(Route((Try("a"),), told), ["x"], Ended("stop")), price=own)
        log = here.engine.open(ME, HELLO)
        here.ended(log)
        assert log.route == Route((Try("a"),), expected)


COMPLETION = Completion(
    [{"role": "user", "content": "hi"}], {"seed": 1, "n": 2}, choices=2, include_usage=True
)
ASKED = ChatRequest("", completion=COMPLETION, keep=False, max_tokens=2)


def test_a_completion_reaches_the_model_as_it_is_and_is_kept_in_no_session(
    world: Callable[..., World],
) -> None:
    provider = saying("fine")
    here = world(provider)
    log = here.engine.open(ME, ASKED)
    here.ended(log)
    (prompt,) = provider.prompts
    assert (prompt.messages, prompt.options, prompt.max_tokens) == (
        COMPLETION.messages,
        COMPLETION.options,
        2,
    )
    assert (log.header.session_id, log.header.include_usage) == (None, True)


def test_a_completion_may_have_more_pieces_than_tokens_but_not_without_end(
    world: Callable[..., World],
) -> None:
    pieces = [[Delta("", {"index": 1, "content": "x"})]] * 1000
    here = world(Scripted(*pieces, Ended("stop")))
    log = here.engine.open(ME, ASKED)
    closing = here.ended(log)
    assert isinstance(closing, Finished)
    assert (closing.finish_reason, log.offset) == ("length", 2 * 2 * PIECES_PER_TOKEN)


def test_all_that_a_piece_holds_counts_towards_the_most_an_answer_may_hold(
    world: Callable[..., World],
) -> None:
    piece = Delta("", {"tool_calls": [{"function": {"arguments": "x" * 60}}]})
    here = world(Scripted([piece], [piece], Ended("stop")), limits=Limits(max_answer_chars=100))
    log = here.engine.open(ME, replace(ASKED, max_tokens=50))
    assert isinstance(here.ended(log), Finished)
    assert log.offset == 1


def test_an_answer_that_does_not_run_on_ends_with_its_last_follower(world: Callable[..., World]) -> None:
    here = world(Scripted(["a"], until_stopped))
    log = here.engine.open(ME, replace(ASKED, runs_on=False))
    with here.engine.following(log):
        with here.engine.following(log):
            pass
        assert log.closing is None
    closing = here.ended(log)
    assert isinstance(closing, Finished)
    assert closing.finish_reason == "detached"


def test_who_answers_is_known_with_the_first_piece(world: Callable[..., World]) -> None:
    route = Route((Try("a", "upstream_error"), Try("b")))
    here = world(Scripted(route, ["x"], Ended("stop")))
    log = here.engine.open(ME, HELLO)
    assert log.wait(0, 10)
    assert log.route == route


def test_the_model_is_shown_the_conversation(world: Callable[..., World]) -> None:
    provider = saying("fine")
    here = world(provider)
    here.ended(here.engine.open(ME, replace(HELLO, system="be brief")))
    here.ended(here.engine.open(ME, replace(HELLO, message="and you")))
    turns = [(turn["role"], turn["content"]) for turn in provider.prompts[1].messages]
    assert turns == [("system", "be brief"), ("user", "hello"), ("assistant", "fine"), ("user", "and you")]


def test_messages_that_did_not_fit_are_counted_in_the_closing(world: Callable[..., World]) -> None:
    here = world(saying("x" * 800), context_tokens=400)
    here.ended(here.engine.open(ME, replace(HELLO, message="y" * 800)))
    closing = here.ended(here.engine.open(ME, HELLO))
    assert isinstance(closing, Finished)
    assert closing.history_dropped == 2


def test_a_session_answers_one_question_at_a_time(world: Callable[..., World]) -> None:
    here = world(Scripted(["a"], until_stopped))
    log = here.engine.open(ME, HELLO)
    with pytest.raises(SessionBusy) as refusal:
        here.engine.open(ME, replace(HELLO, message="another"))
    assert refusal.value.extras == {"stream_id": log.header.stream_id}
    assert here.sessions.get("", "s").message_count == 1  # type: ignore[union-attr]
    assert here.engine.open(ME, replace(HELLO, session_id="other"))
    here.engine.stop(ME, log.header.stream_id)
    assert here.engine.open(ME, HELLO)


def test_of_many_questions_to_a_session_at_once_one_is_answered(world: Callable[..., World]) -> None:
    provider = Scripted(["a"], until_stopped)
    here = world(provider)
    outcomes = at_once(30, lambda n: here.engine.open(ME, replace(HELLO, message=str(n))))
    assert sum(isinstance(outcome, Log) for outcome in outcomes) == 1
    assert sum(isinstance(outcome, SessionBusy) for outcome in outcomes) == 29


def test_the_same_key_joins_one_answer_however_many_ask_at_once(world: Callable[..., World]) -> None:
    provider = saying("once")
    here = world(provider)
    request = ChatRequest("hello", idempotency_key="k", fingerprint="f")
    outcomes = at_once(30, lambda _: here.engine.open(ME, request))
    assert len({outcome.header.stream_id for outcome in outcomes if isinstance(outcome, Log)}) == 1
    here.ended(outcomes[0])  # type: ignore[arg-type]
    assert here.engine.open(ME, request) is outcomes[0], "a finished answer is joined too"
    assert len(provider.prompts) == 1


def test_a_key_is_looked_at_before_the_session_is_found_busy(world: Callable[..., World]) -> None:
    here = world(Scripted(["a"], until_stopped))
    request = replace(HELLO, idempotency_key="k", fingerprint="f")
    log = here.engine.open(ME, request)
    assert here.engine.open(ME, request) is log
    with pytest.raises(IdempotencyMismatch):
        here.engine.open(ME, replace(request, fingerprint="other"))


def test_a_failed_answer_is_joined_by_its_key(world: Callable[..., World]) -> None:
    provider = Scripted(UpstreamError("no"))
    here = world(provider)
    request = replace(HELLO, idempotency_key="k", fingerprint="f")
    log = here.engine.open(ME, request)
    here.ended(log)
    assert here.engine.open(ME, request) is log
    assert len(provider.prompts) == 1


def test_keys_of_different_callers_are_independent(world: Callable[..., World]) -> None:
    provider = saying("yes")
    here = world(provider)
    request = ChatRequest("hello", idempotency_key="k", fingerprint="f")
    callers = [ALICE, BOB, ME, Caller("", "10.0.0.9")]
    assert len({here.engine.open(caller, request).header.stream_id for caller in callers}) == 4


def test_a_refused_question_leaves_nothing_behind(world: Callable[..., World]) -> None:
    doorman = Doorman()
    here = world(saying("yes"), doorman)
    request = replace(HELLO, idempotency_key="k", fingerprint="f")
    doorman.refusal = Unavailable("full")
    with pytest.raises(Unavailable):
        here.engine.open(ME, request)
    assert here.sessions.get("", "s") is None
    doorman.refusal = None
    log = here.engine.open(ME, replace(request, fingerprint="another body: the refusal did not take the key"))
    assert isinstance(here.ended(log), Finished)


def test_an_unknown_model_is_refused_before_the_session_is_claimed(world: Callable[..., World]) -> None:
    here = world(saying("yes"))
    with pytest.raises(ModelNotFound):
        here.engine.open(ME, replace(HELLO, model="gone"))
    assert here.streams.running("", "s") is None


def test_every_admission_is_settled_once_when_a_later_one_refuses(world: Callable[..., World]) -> None:
    first, second = Doorman(), Doorman()
    second.refusal = Unavailable("no")
    here = world(saying("yes"), first, second)
    with pytest.raises(Unavailable):
        here.engine.open(ME, HELLO)
    assert (first.admitted, first.settled) == (1, [None])
    assert (second.admitted, second.settled) == (0, [])
    second.refusal = None
    closing = here.ended(here.engine.open(ME, HELLO))
    assert first.settled == [None, closing]


def test_an_admission_that_cannot_settle_does_not_keep_the_answer_open(world: Callable[..., World]) -> None:
    doorman = Doorman()
    doorman.trouble = RuntimeError("the ledger is away")
    here = world(saying("yes"), doorman)
    assert isinstance(here.ended(here.engine.open(ME, HELLO)), Finished)
    assert here.answer().status == "done"


@pytest.mark.parametrize(
    ("steps", "type_", "text"),
    [
        ([["half"], UpstreamError("The provider failed")], "upstream_error", "half"),
        ([UpstreamTimeout("Too slow")], "upstream_timeout", ""),
        ([["half"]], "upstream_error", "half"),
        ([["half"], ValueError("a defect of ours")], "internal", "half"),
        ([], "upstream_error", ""),
    ],
    ids=["error", "timeout", "no end", "defect", "nothing"],
)
def test_whatever_fails_the_answer_is_closed_and_its_text_kept(
    world: Callable[..., World], steps: list[object], type_: str, text: str
) -> None:
    here = world(Scripted(*steps))  # type: ignore[arg-type]
    closing = here.ended(here.engine.open(ME, HELLO))
    assert isinstance(closing, Failed)
    assert closing.type == type_
    assert "defect" not in closing.error
    assert (here.answer().content, here.answer().status) == (text, "failed")
    assert here.streams.running("", "s") is None


def test_a_stop_ends_the_provider_and_keeps_the_partial(world: Callable[..., World]) -> None:
    provider = Scripted(["half an"], until_stopped, ["never"], Ended("stop"))
    here = world(provider)
    log = here.engine.open(ME, HELLO)
    assert log.wait(0, 10)
    closing = here.engine.stop(ME, log.header.stream_id).closing
    assert isinstance(closing, Finished)
    assert (closing.finish_reason, closing.state) == ("stopped", "stopped")
    assert closing.upstream_closed_ms is not None
    assert provider.closed.is_set()
    assert (here.answer().content, here.answer().status) == ("half an", "stopped")
    assert here.engine.stop(ME, log.header.stream_id).closing == closing, "a second stop changes nothing"


def test_a_provider_that_breaks_because_it_was_stopped_is_stopped_not_failed(
    world: Callable[..., World],
) -> None:
    class Breaking(Scripted):
        def stream(self, prompt, stop):  # type: ignore[no-untyped-def]
            yield ["a"]
            until_stopped(stop)
            raise UpstreamError("the socket was shut")

    here = world(Breaking())
    log = here.engine.open(ME, HELLO)
    assert here.engine.stop(ME, log.header.stream_id).state == "stopped"


def test_a_provider_that_does_not_let_go_does_not_hold_the_stop(world: Callable[..., World]) -> None:
    release = threading.Event()

    def deaf(_stop: object) -> None:
        release.wait(10)

    here = world(Scripted(["a"], deaf, ["late"], Ended("stop")))
    log = here.engine.open(ME, HELLO)
    assert log.wait(0, 10)
    closing = here.engine.stop(ME, log.header.stream_id).closing
    assert isinstance(closing, Finished)
    assert (closing.finish_reason, closing.upstream_closed_ms) == ("stopped", None)
    release.set()
    here.runtime.join()
    assert (log.text, here.answer().content) == ("a", "a"), "what came late is not added"


def test_many_stops_at_once_give_one_closing(world: Callable[..., World]) -> None:
    here = world(Scripted(["a"], until_stopped))
    log = here.engine.open(ME, HELLO)
    outcomes = at_once(20, lambda _: here.engine.stop(ME, log.header.stream_id).closing)
    assert len({id(outcome) for outcome in outcomes}) == 1


@pytest.mark.parametrize(
    ("limit", "text", "reason"), [(2, "ab", "length"), (3, "abc", "stop"), (9, "abc", "stop")]
)
def test_an_answer_longer_than_asked_for_is_cut(
    world: Callable[..., World], limit: int, text: str, reason: str
) -> None:
    provider = Scripted(["a"], ["b", "c"], Ended("stop"))
    here = world(provider)
    closing = here.ended(here.engine.open(ME, replace(HELLO, max_tokens=limit)))
    assert isinstance(closing, Finished)
    assert (here.answer().content, closing.finish_reason) == (text, reason)
    assert provider.closed.is_set()


def test_an_answer_of_too_many_characters_is_cut_between_pieces(world: Callable[..., World]) -> None:
    here = world(Scripted(["abc", "def", "ghi"], Ended("stop")), limits=Limits(max_answer_chars=7))
    closing = here.ended(here.engine.open(ME, HELLO))
    assert isinstance(closing, Finished)
    assert (here.answer().content, closing.finish_reason) == ("abcdef", "length")


def test_deltas_without_text_are_kept_and_not_counted(world: Callable[..., World]) -> None:
    call = Delta("", {"tool_calls": [{"index": 0}]})
    here = world(Scripted([call], ["a", call], Ended("tool_calls")))
    log = here.engine.open(ME, HELLO)
    here.ended(log)
    assert (log.read(0).entries, log.count) == ([call, "a", call], 1)


def test_anothers_stream_is_not_found_by_any_verb(world: Callable[..., World]) -> None:
    here = world(Scripted(["a"], until_stopped))
    log = here.engine.open(ALICE, HELLO)
    for stranger in (BOB, ME):
        for verb in (here.engine.find, here.engine.stop):
            with pytest.raises(NotFound):
                verb(stranger, log.header.stream_id)
    assert here.engine.open(BOB, HELLO), "the same session id is free for another owner"
    assert log.state == "running"


def test_deleting_a_session_stops_its_answer_and_forgets_its_streams(world: Callable[..., World]) -> None:
    here = world(Scripted(["a"], until_stopped))
    log = here.engine.open(ME, HELLO)
    here.conversations.delete(ME, "s")
    assert log.state == "stopped"
    assert here.sessions.get("", "s") is None
    with pytest.raises(NotFound):
        here.engine.find(ME, log.header.stream_id)
    with pytest.raises(NotFound):
        here.conversations.delete(ME, "s")


def test_deleting_a_session_while_its_question_is_being_saved_stops_that_answer_too(
    world: Callable[..., World],
) -> None:
    provider = Scripted(["a"], until_stopped)
    here = world(provider)
    asking = Held(here.sessions.ask)
    here.sessions.ask = asking  # type: ignore[method-assign]
    opened: list[Log] = []
    opener = threading.Thread(target=lambda: opened.append(here.engine.open(ME, HELLO)))
    opener.start()
    assert asking.reached.wait(10)
    deleter = threading.Thread(target=lambda: here.conversations.delete(ME, "s"))
    deleter.start()
    deleter.join(0.05)
    asking.let_go.set()
    opener.join(10)
    deleter.join(10)
    assert opened[0].state == "stopped"
    assert here.streams.running("", "s") is None
    assert here.sessions.get("", "s") is None
    assert provider.prompts == [], "the model was not asked"


def test_an_answer_outside_any_session_leaves_none(world: Callable[..., World]) -> None:
    here = world(saying("yes"))
    log = here.engine.open(ME, ChatRequest("hello", keep=False))
    here.ended(log)
    assert log.header.session_id is None
    assert here.sessions.list("", 10, None) == []


def test_caps_hold_for_the_process_and_for_a_caller(world: Callable[..., World]) -> None:
    here = world(Scripted(["a"], until_stopped), Caps(max_streams=5, max_streams_per_caller=3))
    mine = at_once(10, lambda _: here.engine.open(ALICE, ChatRequest("hello")))
    assert sum(isinstance(outcome, Log) for outcome in mine) == 3
    others = at_once(10, lambda _: here.engine.open(BOB, ChatRequest("hello")))
    assert sum(isinstance(outcome, Log) for outcome in others) == 2
    running = next(outcome for outcome in mine if isinstance(outcome, Log))
    here.engine.stop(ALICE, running.header.stream_id)
    assert here.engine.open(BOB, ChatRequest("hello")), "an ended answer makes room"


def test_an_answer_nobody_follows_is_stopped_after_the_grace(world: Callable[..., World]) -> None:
    here = world(Scripted(["a"], until_stopped), limits=Limits(detach_grace_s=0.0))
    followed = here.engine.open(ME, ChatRequest("hello"))
    following = here.engine.follow(followed)
    assert next(following)
    alone = here.engine.open(ME, ChatRequest("hello"))
    here.engine.tend()
    closing = here.ended(alone)
    assert isinstance(closing, Finished)
    assert (closing.finish_reason, closing.state) == ("detached", "stopped")
    assert followed.state == "running"
    following.close()  # type: ignore[attr-defined]
    here.engine.tend()
    assert here.ended(followed).state == "stopped"


def test_draining_refuses_questions_joins_answers_and_interrupts_what_is_left(
    world: Callable[..., World],
) -> None:
    here = world(Scripted(["half"], until_stopped))
    request = replace(HELLO, idempotency_key="k", fingerprint="f")
    log = here.engine.open(ME, request)
    assert log.wait(0, 10)
    here.engine.draining = True
    with pytest.raises(Unavailable):
        here.engine.open(ME, ChatRequest("hello"))
    assert here.engine.open(ME, request) is log
    here.engine.drain(lambda: 0.0)
    closing = here.ended(log)
    assert isinstance(closing, Failed)
    assert closing.type == "interrupted"
    assert (here.answer().content, here.answer().status) == ("half", "interrupted")


def test_an_answer_that_is_being_saved_is_waited_for_by_a_stop_and_a_drain(
    world: Callable[..., World],
) -> None:
    here = world(saying("kept"))
    saving = Held(here.sessions.answer)
    here.sessions.answer = saving  # type: ignore[method-assign]
    log = here.engine.open(ME, HELLO)
    assert saving.reached.wait(10)
    waiting = [
        threading.Thread(target=lambda: here.engine.stop(ME, log.header.stream_id)),
        threading.Thread(target=lambda: here.engine.drain(lambda: 10.0)),
    ]
    for thread in waiting:
        thread.start()
        thread.join(0.05)
    assert all(thread.is_alive() for thread in waiting)
    saving.let_go.set()
    for thread in waiting:
        thread.join(10)
    assert (here.answer().content, here.answer().status) == ("kept", "done")


def test_an_answer_the_store_refused_is_saved_when_it_writes_again(world: Callable[..., World]) -> None:
    here = world(saying("kept"))
    save = here.sessions.answer
    here.sessions.answer = refuse  # type: ignore[method-assign]
    assert here.ended(here.engine.open(ME, HELLO)).state == "done"
    here.engine.tend()
    assert here.answer().role == "user"
    here.sessions.answer = save  # type: ignore[method-assign]
    here.engine.tend()
    assert here.answer().content == "kept"


def refuse(*_: object) -> None:
    raise Unavailable("the disk is full")


class Doorman:
    """An admission that refuses, or cannot settle, when told to."""

    def __init__(self) -> None:
        self.refusal: Refused | None = None
        self.trouble: Exception | None = None
        self.admitted = 0
        self.settled: list[Closing | None] = []

    def admit(self, asking: Asking) -> None:
        if self.refusal:
            raise self.refusal
        self.admitted += 1

    def resume(self, header: Header) -> None:
        raise AssertionError("nothing is resumed")

    def settle(self, log: Log, closing: Closing) -> None:
        self.settled.append(closing)
        if self.trouble:
            raise self.trouble

    def withdraw(self, log: Log) -> None:
        self.settled.append(None)

    def let_go(self, log: Log) -> None:
        raise AssertionError("nobody else goes on with it")


def at_once(times: int, call: Callable[[int], object]) -> list[object]:
    """What `call(n)` gives, or raises, on so many threads let go together."""
    barrier = threading.Barrier(times)
    outcomes: list[object] = []

    def run(n: int) -> None:
        barrier.wait()
        try:
            outcomes.append(call(n))
        except Refused as refusal:
            outcomes.append(refusal)

    threads = [threading.Thread(target=run, args=(n,)) for n in range(times)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    return outcomes


class Deaf(Alone):
    """A peer that misses the first thing it is told."""

    def __init__(self) -> None:
        self.missed: list[Log] = []

    def stop(self, log: Log, reason: str) -> None:
        if self.missed:
            log.close(Finished(reason, 0, 0.0, None, Usage(0, 0, 0), "2026-01-01T00:00:00.000000+00:00"))
        self.missed.append(log)


def test_a_peer_that_missed_that_it_is_to_stop_an_answer_is_told_again(world: Callable[..., World]) -> None:
    here = world(Scripted([]), peers=Deaf())
    log = here.streams.create(
        Header("1", "", None, "q", "m", "scripted", "2026-01-01T00:00:00.000000+00:00", "127.0.0.1")
    )
    stopped = here.engine.stop(ME, "1")
    assert stopped is log
    assert stopped.state == "stopped"
