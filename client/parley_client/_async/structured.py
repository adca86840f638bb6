from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Mapping
from typing import Any, Generic, Self, TypeVar

from pydantic import BaseModel

from parley_client._async.jobs import AsyncJobs, Messages
from parley_client._async.streams import AsyncChunkStream
from parley_client.errors import InvalidOutput, ParleyError
from parley_client.partial import partial
from parley_client.requests import given
from parley_client.structured import RE_ASKS, Asking, Attempt, Structured, attempt_of, priced

M = TypeVar("M", bound=BaseModel)


class AsyncStructuredStream(Generic[M]):
    """Yields the model while it grows, and last the valid one: iterate over it, once.

    An answer that is not valid is asked for again, and what grows begins anew. Until its end a field that is
    not there yet has its default, or None whatever its type says. `attempts` are the calls so far.
    """

    def __init__(self, jobs: AsyncJobs, job_id: str, asking: Asking[M], body: Mapping[str, Any]) -> None:
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

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> M:
        return await anext(self._models)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        await self._models.aclose()

    async def result(self) -> Structured[M]:
        """The valid one with what every attempt cost, once it is there. Raises InvalidOutput."""
        async for _ in self:
            pass
        if self.value is None:
            raise ValueError("This stream was left before its end")
        return Structured(self.value, await _priced(self._jobs, self.attempts, self._job_id))


class AsyncStructuredJobs(AsyncJobs):
    """Jobs whose answers are instances of a Pydantic model."""

    async def structured_output(
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
        return await self._structured(asking, job_id, body)

    async def structured_result(
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
        value = await self._structured(asking, job_id, body)
        return Structured(value, await _priced(self, tuple(asking.attempts), job_id))

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
    ) -> AsyncStructuredStream[M]:
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
        return AsyncStructuredStream(self, self._job(job_id), asking, body)

    async def _structured(self, asking: Asking[M], job_id: str | None, body: Mapping[str, Any]) -> M:
        while not asking.is_over:
            result = await self.chat(
                messages=asking.messages, job_id=job_id, response_format=asking.response_format, **body
            )
            value = asking.judge(attempt_of(result))
            if value is not None:
                return value
        raise await _gave_up(self, asking, job_id)


async def _grow(
    jobs: AsyncJobs, job_id: str, asking: Asking[M], body: Mapping[str, Any]
) -> AsyncGenerator[M, None]:
    while not asking.is_over:
        began_s = time.monotonic()
        last: M | None = None
        calling = jobs.chat_stream(
            messages=asking.messages, job_id=job_id, response_format=asking.response_format, **body
        )
        async with calling as stream:
            async for _ in stream:
                grown = partial(asking.model, stream.text)
                if grown is not None and grown != last:
                    last = grown
                    yield grown
        value = asking.judge(_attempt(calling, began_s))
        if value is not None:
            yield value
            return
    raise await _gave_up(jobs, asking, job_id)


async def _gave_up(jobs: AsyncJobs, asking: Asking[M], job_id: str | None) -> InvalidOutput:
    failure = asking.gave_up()
    failure.attempts = await _priced(jobs, failure.attempts, job_id)
    return failure


async def _priced(jobs: AsyncJobs, attempts: tuple[Attempt, ...], job_id: str | None) -> tuple[Attempt, ...]:
    """With what the job's bill says, if it can be had: an output is not lost for want of its price."""
    if all(attempt.cost_usd is not None for attempt in attempts):
        return attempts
    try:
        return priced(attempts, await jobs.job_costs(job_id))
    except ParleyError:
        return attempts


def _attempt(stream: AsyncChunkStream, began_s: float) -> Attempt:
    return Attempt(
        text=stream.text,
        call_id=stream.call_id,
        model=stream.model,
        tokens=stream.usage.total_tokens if stream.usage else None,
        latency_ms=(time.monotonic() - began_s) * 1000,
        usage=stream.usage,
    )
