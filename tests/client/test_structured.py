"""Answers as instances of a model: asked for again while they are not, and what that cost."""

from __future__ import annotations

import enum
import json
from typing import Annotated, Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field

from parley_client import InvalidOutput
from parley_client.partial import partial
from parley_client.schema import response_format
from tests.fakes.questions import Questions
from tests.fakes.upstream import Script, answer

ADA = '{"name": "Ada", "age": 36}'


class Person(BaseModel):
    """Somebody."""

    name: str = Field(description="Full name")
    age: int = Field(ge=0, le=150)


class Mood(enum.Enum):
    GOOD = "good"
    BAD = "bad"


class Team(BaseModel):
    lead: Person
    others: list[Person] = []
    mood: Mood | None = None
    note: str | None = None
    score: float = 0.0


@pytest.fixture
def extracting(client: Any) -> Any:
    """With a job under way."""
    client.create_job("extract")
    return client


def in_pieces(text: str) -> Script:
    return answer([text[at : at + 3] for at in range(0, len(text), 3)])


@pytest.mark.server
def test_a_valid_answer_is_an_instance(extracting: Any, questions: Questions) -> None:
    asked = questions.new(in_pieces(ADA), in_pieces(f"```json\n{ADA}\n```"))
    person = extracting.structured_output("scripted", asked.messages, Person, temperature=0.1)
    assert person == Person(name="Ada", age=36)
    assert asked.body["temperature"] == 0.1
    assert asked.body["response_format"] == response_format(Person)
    assert extracting.structured_output("scripted", asked.messages, response_model=Person).age == 36
    assert asked.calls == 2


@pytest.mark.server
def test_the_built_in_model_keeps_to_a_schema(extracting: Any) -> None:
    asked = [{"role": "user", "content": "Who is in it?"}]
    team = extracting.structured_result("chat-fast", asked, Team)
    assert len(team.attempts) == 1
    assert extracting.structured_output_stream("chat-fast", asked, Team).result().value == team.value


@pytest.mark.server
def test_an_answer_that_is_not_valid_is_asked_for_again_with_what_was_wrong(
    extracting: Any, questions: Questions
) -> None:
    asked = questions.new(*map(in_pieces, ["I think Ada", '{"name": "Ada", "age": 200}', ADA]))
    result = extracting.structured_result("scripted", asked.messages, Person, purpose="person")
    assert result.value == Person(name="Ada", age=36)
    assert [attempt.error is None for attempt in result.attempts] == [False, False, True]
    assert "age: Input should be less than or equal to 150" in str(result.attempts[1].error)
    bill = extracting.job_costs()
    assert [attempt.call_id for attempt in result.attempts] == [call.call_id for call in bill.calls]
    assert [attempt.cost_usd for attempt in result.attempts] == [call.cost_usd for call in bill.calls]
    assert result.cost_usd == pytest.approx(bill.costs.total_cost_usd)
    assert result.tokens == bill.costs.total_tokens
    assert {call.purpose for call in bill.calls} == {"person"}
    told = asked.body["messages"]
    assert [message["role"] for message in told] == ["user", "assistant", "user", "assistant", "user"]
    assert "less than or equal to 150" in told[-1]["content"]
    assert told[3]["content"] == '{"name": "Ada", "age": 200}'


@pytest.mark.server
@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
def test_it_gives_up_and_says_what_every_attempt_cost(
    extracting: Any, questions: Questions, streamed: bool
) -> None:
    asked = questions.new(in_pieces("no"))
    with pytest.raises(InvalidOutput, match="3 attempts") as invalid:
        if streamed:
            list(extracting.structured_output_stream("scripted", asked.messages, Person))
        else:
            extracting.structured_output("scripted", asked.messages, Person)
    assert [attempt.text for attempt in invalid.value.attempts] == ["no"] * 3
    assert all(attempt.cost_usd and attempt.tokens for attempt in invalid.value.attempts)
    with pytest.raises(InvalidOutput, match="1 attempts"):
        extracting.structured_output("scripted", asked.messages, Person, re_asks=0)
    assert asked.calls == 4


@pytest.mark.server
def test_a_model_is_shown_while_it_grows(extracting: Any, questions: Questions) -> None:
    asked = questions.new(*map(in_pieces, ['{"name": "Ada', ADA]))
    stream = extracting.structured_output_stream("scripted", asked.messages, Person)
    grown = list(stream)
    assert all(isinstance(person, Person) for person in grown)
    ages = [person.age for person in grown]
    assert set(ages) == {None, 36}, "half a number is not shown"
    assert grown[-1] == stream.value == Person(name="Ada", age=36)
    assert [attempt.error is None for attempt in stream.attempts] == [False, True]
    again = extracting.structured_output_stream("scripted", asked.messages, Person).result()
    assert again.value == stream.value
    assert again.cost_usd > 0
    assert again.attempts[0].usage.total_tokens == again.tokens


@given(st.integers(0, 200))
def test_what_has_grown_only_grows(at: int) -> None:
    whole = {
        "lead": {"name": 'Ada "\\ü😀', "age": 36},
        "others": [{"name": "Bob", "age": 7}, {"name": "Eve", "age": 120}],
        "mood": "good", "note": "fine 1", "score": 1.5e3,
    }  # fmt: skip
    text = json.dumps(whole)
    now, then = partial(Team, text[:at]), partial(Team, text[: at + 1])
    if now is None:
        assert at == 0
        return
    assert then is not None
    end = Team.model_validate(whole)
    assert now.lead is None or end.lead.name.startswith(now.lead.name or "")
    assert now.lead is None or now.lead.age in (None, 36)
    assert now.mood in (None, Mood.GOOD)
    assert now.score in (0.0, 1500.0)
    assert len(now.others) <= len(then.others) <= 2
    assert all(person.age in (None, 7, 120) for person in now.others)


def test_the_end_of_growing_is_the_model_itself() -> None:
    assert partial(Team, '{"lead": %s, "mood": null}' % ADA) == Team(lead=Person(name="Ada", age=36))  # noqa: UP031
    assert partial(Team, "") is None
    assert partial(Team, "[") is None
    assert partial(Person, '```json\n{"name": "A') == Person.model_construct(name="A", age=None)


class Node(BaseModel):
    value: int
    children: list[Node] = []


class Free(BaseModel):
    data: dict[str, int]


class Short(BaseModel):
    name: Annotated[str, Field(max_length=5)]


class Cat(BaseModel):
    kind: Literal["cat"]


class Dog(BaseModel):
    kind: Literal["dog"]
    owner: Person = Field(description="Whose it is")


class Pet(BaseModel):
    pet: Annotated[Cat | Dog, Field(discriminator="kind")]


@pytest.mark.parametrize(
    ("model", "strict"),
    [(Person, True), (Team, True), (Node, True), (Pet, True), (Free, False), (Short, False)],
)
def test_a_schema_is_strict_where_that_is_possible(model: type[BaseModel], strict: bool) -> None:
    wanted = response_format(model)["json_schema"]
    assert (wanted["name"], wanted["strict"]) == (model.__name__, strict)
    if not strict:
        assert wanted["schema"] == model.model_json_schema()
        return
    for schema in [wanted["schema"], *wanted["schema"].get("$defs", {}).values()]:
        if "properties" in schema:
            assert schema["required"] == list(schema["properties"])
            assert schema["additionalProperties"] is False
    assert not {"default", "oneOf", "discriminator"} & set(
        json.dumps(wanted["schema"]).replace('"', " ").split()
    )
