"""Models as JSON schemas that stand side by side in one document and refer to each other."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, TypeAlias

from pydantic import BaseModel, Field
from pydantic.json_schema import GenerateJsonSchema, models_json_schema

from backend.wire.body import NO_NUL, any_json
from backend.wire.calls import call_schema, whole_job_schema
from backend.wire.chat import without_default
from backend.wire.completions import CompletionBounds, completion_schema
from backend.wire.prompt import prompt_schema

Schema: TypeAlias = dict[str, Any]

PLACE = "#/components/schemas/"
ANYTHING = {"$ref": PLACE + "Anything"}
COMPLETION_BODY = {"$ref": PLACE + "CompletionBody"}
CALL_BODY = {"$ref": PLACE + "CallBody"}
WHOLE_JOB_BODY = {"$ref": PLACE + "WholeJobBody"}
PROMPT_BODY = {"$ref": PLACE + "PromptBody"}


class Shape(BaseModel):
    """What an answer looks like. Never made: answers are written as plain fields, and may grow."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """What the settings say about requests."""

    max_message_chars: int
    completions: CompletionBounds

    def limit(self, question: Schema) -> None:
        """Write the limits that `chat_request` holds questions to into the schema of one."""
        fields = question["properties"]
        fields["message"]["maxLength"] = self.max_message_chars
        for kind in fields["max_tokens"]["anyOf"]:
            if kind["type"] == "integer":
                kind["maximum"] = self.completions.max_answer_tokens

    def open(self, body: Schema) -> None:
        """Write into the schema of a body what its `metadata` may hold: any JSON that we read."""
        metadata = body["properties"]["metadata"]
        for kind in metadata.get("anyOf", [metadata]):
            if kind.get("type") == "object":
                kind |= {"propertyNames": {"pattern": NO_NUL}, "additionalProperties": ANYTHING}

    def bodies(self) -> dict[str, Schema]:
        """The schemas of what no model validates, by name."""
        return {
            "Anything": any_json(ANYTHING),
            "CompletionBody": completion_schema(ANYTHING, self.completions),
            "CallBody": call_schema(ANYTHING, self.completions),
            "WholeJobBody": whole_job_schema(ANYTHING, self.completions),
            "PromptBody": prompt_schema(ANYTHING),
        }


def absent() -> Any:
    """For a field that need not be there, and is never null because of that."""
    return Field(default=None, json_schema_extra=without_default)


def ref(model: type[BaseModel]) -> Schema:
    """A reference to a model's schema, which must be among the document's `components`."""
    return {"$ref": PLACE + model.__name__}


def components(models: Iterable[type[BaseModel]]) -> dict[str, Schema]:
    """The schemas of models, and of all that they use, by name."""
    rows: list[tuple[type[BaseModel], Any]] = [(model, "validation") for model in models]
    _, found = models_json_schema(rows, ref_template=PLACE + "{model}", schema_generator=_Told)
    schemas: dict[str, Schema] = found["$defs"]
    return schemas


class _Told(GenerateJsonSchema):
    """A field's name is title enough, and what its model says below it is its description. pydantic would
    read that as models are made: at every start, though nobody asks for a description."""

    def field_title_should_be_set(self, schema: Any) -> bool:  # noqa: ARG002
        return False

    def model_schema(self, schema: Any) -> Schema:
        told = super().model_schema(schema)
        for name, text in said_of_fields(schema["cls"]).items():
            told["properties"][name]["description"] = text
        return told


def said_of_fields(model: type[BaseModel]) -> dict[str, str]:
    """The docstrings below a model's fields, by name, with those that it inherits."""
    said: dict[str, str] = {}
    for base in reversed(model.__mro__):
        if issubclass(base, BaseModel) and base is not BaseModel:
            said |= _said_in(textwrap.dedent(inspect.getsource(base)))
    return said


def _said_in(source: str) -> dict[str, str]:
    said: dict[str, str] = {}
    for field, below in pairwise(ast.parse(source).body[0].body):  # type: ignore[attr-defined]
        match field, below:
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text))):
                said[name] = inspect.cleandoc(text)
    return said
