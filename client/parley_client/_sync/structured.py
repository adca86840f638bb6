# Made by generate.py from _async/structured.py: change that.

from __future__ import annotations

import time
from collections.abc import Generator, Mapping
from typing import Any, Generic, Self, TypeVar

from pydantic import BaseModel

from parley_client._sync.jobs import Jobs, Messages
from parley_client._sync.streams import ChunkStream
from parley_client.errors import InvalidOutput, ParleyError
from parley_client.partial import partial
from parley_client.requests import given
from parley_client.structured import RE_ASKS, Asking, Attempt, Structured, attempt_of, priced

M = TypeVar("M", bound=BaseModel)


class StructuredStream(Generic[M]):
    """Yields the model while it grows, and last the valid one: iterate over it, once.

    An answer that is not valid is asked for again, and what grows begins anew. Until its end a field that is
    not there yet has its default, or None whatever its type says. `attempts` are the calls so far.
    """

    def __init__(self, jobs: Jobs, job_id: str, asking: Asking[M], body: Mapping[str, Any]) -> None:
        self._jobs = jobs
        self._job_id = job_id
        self._asking = asking
        self._models = _grow(jobs, job_id, asking, body)

    @property
    def attempts(self) -> tuple[Attempt, ...]:
        return tuple(self._asking.attempts)

    @property
    def value(self) -> M | None:
        """The valid one, once it is there."""
        return self._asking.value

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> M:
        return next(self._models)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        self._models.close()

    def result(self) -> Structured[M]:
        """The valid one with what every attempt cost, once it is there. Raises InvalidOutput."""
        for _ in self:
            pass
        if self.value is None:
            raise ValueError("This stream was left before its end")
        return Structured(self.value, _priced(self._jobs, self.attempts, self._job_id))


class StructuredJobs(Jobs):
    """Jobs whose answers are instances of a Pydantic model."""

    def structured_output(
        self,
        model_group: str,
        messages: Messages,
        response_model: type[M],
        temperature: float | None = None,
        max_tokens: int | None = None,
        purpose: str | None = None,
        *,
        re_asks: int = RE_ASKS,
        job_id: str | None = None,
        call_metadata: Mapping[str, Any] | None = None,
        **parameters: Any,
    ) -> M:
        """An answer that is valid. One that is not is asked for again, at most `re_asks` times, with what was
        wrong. Raises InvalidOutput, with every attempt and its cost."""
        asking = Asking(response_model, messages, re_asks)
        body = given(
            model_group=model_group,
            temperature=temperature,
            max_tokens=max_tokens,
            purpose=purpose,
            call_metadata=call_metadata,
            **parameters,
        )
        return self._structured(asking, job_id, body)

    def structured_result(
        self,
        model_group: str,
        messages: Messages,
        response_model: type[M],
        temperature: float | None = None,
        max_tokens: int | None = None,
        purpose: str | None = None,
        *,
        re_asks: int = RE_ASKS,
        job_id: str | None = None,
        call_metadata: Mapping[str, Any] | None = None,
        **parameters: Any,
    ) -> Structured[M]:
        """The same, with every attempt and what it cost."""
        asking = Asking(response_model, messages, re_asks)
        body = given(
            model_group=model_group,
            temperature=temperature,
            max_tokens=max_tokens,
            purpose=purpose,
            call_metadata=call_metadata,
            **parameters,
        )
        value = self._structured(asking, job_id, body)
        return Structured(value, _priced(self, tuple(asking.attempts), job_id))

    def structured_output_stream(
        self,
        model_group: str,
        messages: Messages,
        response_model: type[M],
        temperature: float | None = None,
        max_tokens: int | None = None,
        purpose: str | None = None,
        *,
        re_asks: int = RE_ASKS,
        job_id: str | None = None,
        call_metadata: Mapping[str, Any] | None = None,
        **parameters: Any,
    ) -> StructuredStream[M]:
        """The model while it grows, and last the valid one."""
        asking = Asking(response_model, messages, re_asks)
        body = given(
            model_group=model_group,
            temperature=temperature,
            max_tokens=max_tokens,
            purpose=purpose,
            call_metadata=call_metadata,
            stream_options={"include_usage": True},
            **parameters,
        )
        return StructuredStream(self, self._job(job_id), asking, body)

    def _structured(self, asking: Asking[M], job_id: str | None, body: Mapping[str, Any]) -> M:
        while not asking.is_over:
            result = self.chat(
                messages=asking.messages, job_id=job_id, response_format=asking.response_format, **body
            )
            value = asking.judge(attempt_of(result))
            if value is not None:
                return value
        raise _gave_up(self, asking, job_id)


def _grow(jobs: Jobs, job_id: str, asking: Asking[M], body: Mapping[str, Any]) -> Generator[M, None, None]:
    while not asking.is_over:
        began_s = time.monotonic()
        last: M | None = None
        calling = jobs.chat_stream(
            messages=asking.messages, job_id=job_id, response_format=asking.response_format, **body
        )
        with calling as stream:
            for _ in stream:
                grown = partial(asking.model, stream.text)
                if grown is not None and grown != last:
                    last = grown
                    yield grown
        value = asking.judge(_attempt(calling, began_s))
        if value is not None:
            yield value
            return
    raise _gave_up(jobs, asking, job_id)


def _gave_up(jobs: Jobs, asking: Asking[M], job_id: str | None) -> InvalidOutput:
    failure = asking.gave_up()
    failure.attempts = _priced(jobs, failure.attempts, job_id)
    return failure


def _priced(jobs: Jobs, attempts: tuple[Attempt, ...], job_id: str | None) -> tuple[Attempt, ...]:
    """With what the job's bill says, if it can be had: an output is not lost for want of its price."""
    if all(attempt.cost_usd is not None for attempt in attempts):
        return attempts
    try:
        return priced(attempts, jobs.job_costs(job_id))
    except ParleyError:
        return attempts


def _attempt(stream: ChunkStream, began_s: float) -> Attempt:
    return Attempt(
        text=stream.text,
        call_id=stream.call_id,
        model=stream.model,
        tokens=stream.usage.total_tokens if stream.usage else None,
        latency_ms=(time.monotonic() - began_s) * 1000,
        usage=stream.usage,
    )
