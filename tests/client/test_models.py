"""What the client reads is what the server says that it answers."""

from __future__ import annotations

from types import NoneType
from typing import get_args

import pytest
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from backend.reference import jobs as served
from parley_client import completions, jobs
from parley_client.reading import Reading

OTHERWISE_NAMED = {"Call": "JobCall", "JobPage": "JobList"}
MODELS = {
    name: kind
    for name, kind in vars(jobs).items()
    if isinstance(kind, type) and issubclass(kind, Reading) and not hasattr(completions, name)
}
OPENAIS = {*completions.Completion.model_fields}


def may_be_null(field: FieldInfo) -> bool:
    return NoneType in get_args(field.annotation)


@pytest.mark.parametrize("name", sorted(MODELS.keys() - {"Reading"}))
def test_a_model_has_the_fields_that_the_server_documents(name: str) -> None:
    shape: type[BaseModel] = getattr(served, OTHERWISE_NAMED.get(name, name))
    read, told = MODELS[name].model_fields, shape.model_fields
    assert read.keys() - OPENAIS == told.keys() - OPENAIS - {"usage_source"}
    for field in read.keys() & told.keys() - OPENAIS:
        if read[field].is_required():
            assert told[field].is_required(), field
        if may_be_null(told[field]):
            assert may_be_null(read[field]), field


def test_the_states_of_a_job_and_of_a_call_are_the_servers() -> None:
    assert get_args(jobs.JobStatus) == get_args(served.JobStatus)
    assert all(f" {state}" in str(jobs.Call.__doc__) for state in get_args(served.CallState))
