"""What OpenAI's SDK gets when it asks again, by itself or not."""

from __future__ import annotations

from typing import Any

import openai
import pytest

from tests.fakes.questions import Questions, said
from tests.fakes.upstream import answer, chunk, finish, status
from tests.sdks import Sync, text_of

pytestmark = pytest.mark.server

BUSY = status(503, {"error": {"message": "busy"}})


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
def test_with_the_same_key_it_gets_the_whole_answer_which_is_generated_once(
    sdk: Sync, questions: Questions, streamed: bool
) -> None:
    question = questions.new(answer(["the ", "whole"], gap_s=0.7))
    asked: dict[str, Any] = {
        "model": "fake",
        "messages": question.messages,
        "stream": streamed,
        "extra_headers": {"Idempotency-Key": question.text},
    }
    if streamed:
        with sdk.entered(sdk.create(**asked)) as stream:
            next(sdk.each(stream))
        assert text_of(list(sdk.each(sdk.create(**asked)))) == "the whole"
    else:
        hasty = sdk.client.with_options(timeout=0.5, max_retries=5)
        answered = sdk.wait(hasty.chat.completions.create(**asked))
        assert answered.choices[0].message.content == "the whole"
    assert question.calls == 1


def test_a_failure_that_is_on_record_under_its_key_is_not_asked_for_again(
    sdk: Sync, questions: Questions
) -> None:
    question = questions.new(BUSY, BUSY, BUSY, answer(["Hi"]))
    headers = {"Idempotency-Key": question.text}
    patient = sdk.client.with_options(max_retries=2)
    with pytest.raises(openai.InternalServerError) as failed:
        sdk.wait(
            patient.chat.completions.create(model="fake", messages=question.messages, extra_headers=headers)
        )
    assert failed.value.response.headers["X-Should-Retry"] == "false"
    assert question.calls == 3, "which are this server's own attempts"


@pytest.mark.parametrize("code", [401, 402, 403, 404])
def test_what_no_retry_mends_is_not_tried_again(sdk: Sync, questions: Questions, code: int) -> None:
    question = questions.new(status(code))
    patient = sdk.client.with_options(max_retries=2)
    with pytest.raises(openai.InternalServerError):
        sdk.wait(patient.chat.completions.create(model="fake", messages=question.messages))
    assert question.calls == 1


@pytest.mark.parametrize("order", [(1, 0), (0, 2, 1)], ids=str)
def test_a_choice_may_speak_before_those_in_front_of_it(
    sdk: Sync, questions: Questions, order: tuple[int, ...]
) -> None:
    opening = [chunk(role="assistant", content="", index=index) for index in sorted(order)]
    texts = [chunk(f"text {index}", index=index) for index in order]
    ends = [finish(index=index) for index in order if index]
    question = questions.new(said(*opening, *texts, *ends))
    asked: dict[str, Any] = {"model": "fake", "messages": question.messages, "n": len(order)}
    with sdk.entered(sdk.client.chat.completions.stream(**asked)) as stream:
        completion = sdk.wait(stream.get_final_completion())
    told = [choice.message.content for choice in completion.choices]
    assert told == [f"text {index}" for index in sorted(order)]
