from __future__ import annotations

from typing import Any

import jsonschema_rs
import pytest

from backend.chat.errors import InvalidRequest
from backend.chat.events import Finished, Usage
from backend.ledger.records import Call
from backend.wire.body import Body, read_body
from backend.wire.calls import call_request, call_schema, whole_job_request, whole_job_schema
from backend.wire.completions import CompletionBounds
from backend.wire.jobs import call_fields, result_fields, usage_fields

BOUNDS = CompletionBounds(100, 10, 3)
MESSAGES = [{"role": "user", "content": "Hi"}]
CALL = {"model_group": "chat-fast", "messages": MESSAGES}
AT = "2026-11-20T12:00:00.000000+00:00"


def test_a_call_is_a_completion_and_what_the_job_knows_of_it() -> None:
    body = Body({**CALL, "purpose": "p", "call_metadata": {"a": 1}, "top_p": 0.5, "new": [1]}, "f")
    asked = call_request(body, "j", "k", BOUNDS, streaming=False, runs_on=True)
    assert (asked.model, asked.max_tokens, asked.idempotency_key) == ("chat-fast", 100, "k")
    assert (asked.call.job_id, asked.call.purpose, asked.call.metadata) == ("j", "p", {"a": 1})
    assert asked.completion is not None
    assert asked.completion.options == {"top_p": 0.5, "new": [1]}
    assert (asked.keep, asked.runs_on) == (False, True)


def test_a_key_is_for_one_job_whether_its_call_streams_or_not() -> None:
    body = read_body(b'{"model": "demo", "messages": [{"role": "user", "content": "Hi"}]}')

    def fingerprint(job_id: str, streaming: bool) -> str:
        return call_request(body, job_id, "k", BOUNDS, streaming=streaming, runs_on=True).fingerprint

    assert fingerprint("a", True) == fingerprint("a", False) != fingerprint("b", True)


WRONG: list[dict[str, Any]] = [
    {"model_group": None}, {"model": "demo"}, {"model_group": 1}, {"model_group": ""},
    {"messages": None}, {"messages": []},
    {"purpose": 1}, {"purpose": "p" * 256}, {"call_metadata": []}, {"stream": True}, {"api_key": "k"},
    {"max_tokens": 101}, {"n": 4},
]  # fmt: skip
RIGHT: list[dict[str, Any]] = [
    {}, {"purpose": None}, {"call_metadata": {"a": [1]}}, {"tools": []}, {"max_tokens": 100}, {"n": 3},
]  # fmt: skip


@pytest.mark.parametrize("change", [*WRONG, *RIGHT])
@pytest.mark.parametrize("whole", [False, True], ids=["call", "whole job"])
def test_what_is_taken_is_what_the_schema_says(change: dict[str, Any], whole: bool) -> None:
    fields = {**CALL, **({"job_type": "a"} if whole else {}), **change}
    schema = (whole_job_schema if whole else call_schema)({}, BOUNDS)
    fits = jsonschema_rs.Draft202012Validator(schema).is_valid(fields)
    try:
        if whole:
            whole_job_request(Body(fields, ""), None, BOUNDS)
        else:
            call_request(Body(fields, ""), "j", None, BOUNDS, streaming=False, runs_on=False)
        taken = True
    except InvalidRequest:
        taken = False
    assert taken is (change in RIGHT)
    assert fits is taken


def test_one_job_in_one_request_has_both_parts() -> None:
    body = Body({**CALL, "job_type": "a", "user_id": "u", "metadata": {"m": 1}, "purpose": "p"}, "f")
    job, asked = whole_job_request(body, "k", BOUNDS)
    assert (job.job_type, asked.call.job_type, asked.call.user_id) == ("a", "a", "u")
    assert (asked.call.job_id, asked.call.purpose, asked.call.job_metadata) == (None, "p", {"m": 1})
    for wrong in ({"job_type": ""}, {"job_type": None}, {"metadata": []}, {"user_id": 1}):
        with pytest.raises(InvalidRequest):
            whole_job_request(Body({**body.fields, **wrong}, "f"), None, BOUNDS)


def test_a_call_reads_as_a_completion_with_what_it_cost() -> None:
    message = {"role": "assistant", "content": None, "refusal": None, "tool_calls": [{"id": "t"}]}
    choice = {"index": 0, "message": message, "finish_reason": "tool_calls"}
    completion = {"id": "chatcmpl-s", "model": "chat-fast", "choices": [choice]}
    closing = Finished("tool_calls", 0, 1.25, 3.0, Usage(4, 5, 9), AT)
    call = Call(
        "s", "j", "t", "s", None, None, "demo", {}, "done", 1, 4, 5, 14, "usage", 1, 1, None, AT, AT, AT
    )
    said = call_fields(call, "j", completion, closing)
    assert said["call_id"] == "s"
    assert said["response"] == {"content": None, "finish_reason": "tool_calls", "tool_calls": [{"id": "t"}]}
    expected = {"tokens_used": 9, "latency_ms": 1250, "model": "chat-fast", "cost_usd": 0.000014}
    assert said["metadata"] == expected
    assert call_fields(None, "j", completion, closing)["metadata"]["cost_usd"] is None


def test_money_is_in_dollars() -> None:
    line = {"call_id": "c", "micro_usd": 1_500_000, "tokens": 3}
    bill = {
        "job_id": "j", "status": "completed", "completed_at": AT, "total_calls": 1, "successful_calls": 1,
        "failed_calls": 0, "total_tokens": 3, "total_micro_usd": 1_500_000, "avg_latency_ms": 5,
        "credits_charged": 2, "credits_remaining": 7, "calls": [line],
    }  # fmt: skip
    said = result_fields(bill)
    assert said["costs"]["total_cost_usd"] == 1.5
    assert (said["costs"]["credit_applied"], said["costs"]["credits_remaining"]) == (True, 7)
    assert said["calls"] == [{"call_id": "c", "tokens": 3, "cost_usd": 1.5}]
    row = {"calls": 1, "micro_usd": 1}
    usage = {
        "team_id": "t", "period": "2026-11", "summary": {"total_jobs": 1, "total_micro_usd": 2},
        "job_types": {"a": {"count": 1, "micro_usd": 3}}, "models": {"m": row}, "days": {"2026-11-20": row},
    }  # fmt: skip
    assert usage_fields(usage) == {
        "team_id": "t", "period": "2026-11", "summary": {"total_jobs": 1, "total_cost_usd": 0.000002},
        "job_types": {"a": {"count": 1, "cost_usd": 0.000003}},
        "models": {"m": {"calls": 1, "cost_usd": 0.000001}},
        "days": {"2026-11-20": {"calls": 1, "cost_usd": 0.000001}},
    }  # fmt: skip
