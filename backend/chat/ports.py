"""What the core needs from outside, as small Protocols; the contracts stand here."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias, TypeVar

from backend.chat.events import Closing, Entry, Header, Price, Route, Usage
from backend.chat.log import Log
from backend.chat.requests import Caller, ChatRequest, Idempotency
from backend.chat.sessions import Changes, Message, Session
from backend.chat.signals import Signal
from backend.chat.stop import Stop

T = TypeVar("T")


class Runtime(Protocol):
    """Concurrency and time, as the core needs them."""

    name: str

    def spawn(self, work: Callable[[], None]) -> None:
        """Run it beside us. It handles its own errors."""

    def signal(self) -> Signal: ...

    def offload(self, work: Callable[[], T]) -> T:
        """Run what would block everyone (a database, a disk) in a real thread; what it gives, or
        raises. It must not use our locks or signals."""

    def sleep(self, seconds: float) -> None:
        """Let the others run, for so long or for once."""

    def monotonic(self) -> float:
        """Seconds that never jump."""

    def now(self) -> str:
        """The wall clock, ISO 8601 UTC with microseconds."""


@dataclass(frozen=True, slots=True)
class Prompt:
    """What a provider is asked, in the terms of OpenAI's chat completions: `messages`, and in `options` all
    other fields that were given. `model` is the name the upstream knows. `max_tokens` bounds the answer
    where the options do not. `partial` is how the answer begins, of which only the rest is wanted."""

    model: str
    messages: Sequence[Mapping[str, Any]]
    max_tokens: int
    options: Mapping[str, Any] = field(default_factory=dict)
    partial: str = ""


@dataclass(frozen=True, slots=True)
class Ended:
    """The last item of a provider's stream: the model came to an end of its own. `finish_reason` is that of
    choice 0; `usage` is None when the upstream did not say."""

    finish_reason: str
    usage: Usage | None = None


Piece: TypeAlias = list[Entry] | Route | Ended


class Provider(Protocol):
    """Who writes answers."""

    def stream(self, prompt: Prompt, stop: Stop) -> Generator[Piece, None, None]:
        """Yield what arrived as lists of entries, as soon as it arrives, then one `Ended`.

        A `Route` may say who answers: before the first entries, or before it raises. Never an empty list
        or empty text. Ending without `Ended` is a failure, and so is any
        `Broken` it raises; foreign exceptions do not leave it. When `stop` is requested it ends within
        250 ms, wherever it waits, its upstream connection closed. It is closed by its reader.
        """


@dataclass(frozen=True, slots=True)
class Model:
    """A name callers may ask for, and who answers to it; `owned_by` is the upstream's name, `price` what its
    tokens cost, if that is known, `dearest` the most that they can where several may answer. `continues`: it
    can go on with an answer that others have begun."""

    name: str
    provider: Provider
    upstream_name: str
    context_tokens: int
    owned_by: str = "parley"
    price: Price | None = None
    continues: bool = False
    dearest: Price | None = None


class Models(Protocol):
    @property
    def all(self) -> Sequence[Model]:
        """Every one there is, by name."""

    def find(self, name: str | None) -> Model:
        """The named model, or the default for None. Raises ModelNotFound."""


TokenCounter: TypeAlias = Callable[[str], int]
"""About how many tokens a text is. May take its time: it is called in a real thread."""


class StreamStore(Protocol):
    """Where answers are while they run and until `STREAM_TTL` after. Raises Unavailable when it
    cannot write.

    One running answer a session, one answer an idempotency key, one closing a log: of many that try
    at once, one wins.
    """

    def create(self, header: Header) -> Log:
        """Begin a log, atomically claiming its session and its idempotency key.

        A known key gives the log it belongs to instead (its header has another stream id). Raises
        IdempotencyMismatch, or SessionBusy with the running stream's id.
        """

    def by_key(self, idempotency: Idempotency) -> Log | None:
        """The log of a known key. Raises IdempotencyMismatch."""

    def get(self, owner: str, stream_id: str) -> Log:
        """Raises NotFound (unknown, or another owner's) and StreamExpired."""

    def running(self, owner: str, session_id: str) -> Log | None:
        """The answer a session is giving now."""

    def affirm(self, log: Log) -> None:
        """It begins: its question is saved. Raises Unavailable if others have taken it for one that was left
        behind before that, and dropped it."""

    def append(self, log: Log, entries: list[Entry]) -> None:
        """Add what was generated. Raises LogClosed, and TakenOver."""

    def seal(self, log: Log, closing: Closing) -> Closing:
        """Decide how it ends, before readers see it: nothing can be appended any more. Gives the closing that
        stands, which is another's where that came first.

        All that was appended is durable before anything that is given to the same stores later: what they
        keep of a log has it behind it. It may not be durable yet. Raises TakenOver.
        """

    def close(self, log: Log, closing: Closing) -> None:
        """Make the end durable, then let readers see it, and free the session. Closing a closed log
        changes nothing."""

    def discard(self, log: Log) -> None:
        """Forget a log that never began, with its key and its claim on the session."""

    def forget(self, owner: str, session_id: str) -> None:
        """Forget the finished logs of a session, with their keys."""

    def abandoned(self, *, by_others: bool = True) -> Iterable[Log]:
        """Logs without a closing whose writer is gone; some may be sealed. And those whose closing the store
        has forgotten, to be sealed and closed again. `by_others`: also what other processes left."""

    def take_over(self, log: Log, left: Header) -> bool:
        """Be the writer of a log that was `left` behind with this header; whoever wrote it before is refused.
        False if that is not possible, or if readers may have been shown more of it than there is. Raises
        TakenOver if another has it since."""

    def let_go(self, log: Log) -> None:
        """Another process goes on with it: follow that."""

    def sweep(self) -> None:
        """Drop what has outlived its time."""


class SessionStore(Protocol):
    """Where conversations are kept. Raises Unavailable when it cannot write or is full."""

    def create(self, session: Session) -> None:
        """Keep a new, empty session; its id is new."""

    def get(self, owner: str, session_id: str) -> Session | None: ...

    def list(self, owner: str, limit: int, before: tuple[str, str] | None) -> Sequence[Session]:
        """The owner's sessions, by (updated_at, session_id) falling, those below `before` only."""

    def update(self, owner: str, session_id: str, changes: Changes) -> Session | None:
        """The session as it is then, None if there is none."""

    def delete(self, owner: str, session_id: str) -> bool:
        """Forget it with its messages. False if there was none."""

    def messages(self, owner: str, session_id: str) -> Sequence[Message]:
        """Its messages, oldest first; a parent stands before those that come after it."""

    def ask(self, session: Session, question: Message, title: str) -> None:
        """Add a question, making the session as given if there is none; `title` names an untitled one."""

    def answer(self, owner: str, session_id: str, answer: Message) -> None:
        """Add an answer. A message id that is there already, or a session that is gone, changes
        nothing."""

    def find_message(self, owner: str, session_id: str, message_id: str) -> Message | None: ...

    def sweep(self) -> None:
        """Drop what has outlived its time."""


@dataclass(frozen=True, slots=True)
class Asking:
    """A question that wants in: who asks what of which model, and the log its answer is to have."""

    log: Log
    caller: Caller
    request: ChatRequest
    model: Model


class Admission(Protocol):
    """What a question must pass before it is answered: caps, budgets, credits. After `admit` or `resume`
    exactly one of the last three is called."""

    def admit(self, asking: Asking) -> None:
        """Let it in, or raise Refused and leave nothing behind."""

    def resume(self, header: Header) -> None:
        """One that was let in elsewhere goes on here, whatever its caller's limits; or raise Refused."""

    def settle(self, log: Log, closing: Closing) -> None:
        """The answer ended."""

    def withdraw(self, log: Log) -> None:
        """It never began: another admission refused it, or its question could not be saved."""

    def let_go(self, log: Log) -> None:
        """Another process goes on with it."""


class Tally(Protocol):
    """One answer's numbers. It is called in the thick of writing: it neither waits nor raises."""

    def wrote(self, entries: int) -> None:
        """So many entries, one or more, were appended together just now."""

    def routed(self, route: Route) -> None:
        """Who was asked for it."""

    def ended(self, closing: Closing) -> None:
        """Called once, before readers see the closing."""


class Meter(Protocol):
    """Who counts what answers do."""

    def began(self, header: Header) -> Tally:
        """An answer's time runs from here. One that is then refused gets no `ended`."""


class Uncounted:
    """A Meter and its Tally, for when nobody wants to know."""

    def began(self, header: Header) -> Tally:  # noqa: ARG002
        return self

    def wrote(self, entries: int) -> None:
        pass

    def routed(self, route: Route) -> None:
        pass

    def ended(self, closing: Closing) -> None:
        pass
