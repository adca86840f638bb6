"""The operations of the jobs API and of the management of teams, as rows of the table."""

from __future__ import annotations

from backend.chat.errors import (
    Conflict,
    Forbidden,
    IdempotencyMismatch,
    InsufficientCredits,
    Internal,
    Interrupted,
    InvalidJson,
    InvalidRequest,
    ModelNotFound,
    NotFound,
    PayloadTooLarge,
    RateLimited,
    StreamExpired,
    TooSlow,
    Unauthorized,
    Unavailable,
    UnsupportedMediaType,
    UpstreamError,
    UpstreamTimeout,
)
from backend.reference import jobs as shapes
from backend.reference import parameters as given
from backend.reference.answers import Error
from backend.reference.completions import ChatCompletionChunk
from backend.reference.operations import Answer, Operation, Refusals, events, json
from backend.reference.schemas import CALL_BODY, WHOLE_JOB_BODY, Schema, ref
from backend.wire import admin as manage
from backend.wire import calls as wire

KEY: tuple[Schema, ...] = ({"key": []},)
KEY_OR_ADMIN: tuple[Schema, ...] = ({"key": []}, {"bearer": []})
ADMIN: tuple[Schema, ...] = ({"bearer": []},)
GUARDED: Refusals = (Forbidden, Internal, Unauthorized, RateLimited, Unavailable)
READING: Refusals = (InvalidJson, InvalidRequest, TooSlow, PayloadTooLarge, UnsupportedMediaType)
CALLING: Refusals = (
    *GUARDED, *READING, NotFound, ModelNotFound, Conflict, InsufficientCredits, IdempotencyMismatch,
    UpstreamError, UpstreamTimeout, Interrupted,
)  # fmt: skip
CALL_HEADERS = ("X-Stream-Id", "X-Call-Id", "X-Upstream", "X-Upstream-Tried")
BUDGET_HEADERS = ("X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset")


def jobs() -> tuple[Operation, ...]:
    chunks = events(ChatCompletionChunk, Error, identified=None, end="[DONE]")

    def make(route: str, name: str, summary: str) -> Operation:
        return Operation(
            route,
            name,
            "jobs",
            summary,
            parameters=(given.JOB_IDEMPOTENCY_KEY,),
            body=ref(wire.JobBody),
            answers={201: Answer("The job", json(shapes.JobCreated))},
            refusals=(*GUARDED, *READING, IdempotencyMismatch),
            security=KEY,
        )

    def read(route: str, name: str, summary: str, answer: Schema, *parameters: Schema) -> Operation:
        return Operation(
            route,
            name,
            "jobs",
            summary,
            parameters=parameters,
            answers={200: Answer("As it is now", answer)},
            refusals=(*GUARDED, NotFound, InvalidRequest),
            security=KEY_OR_ADMIN if "/teams/" in route else KEY,
        )

    return (
        make("POST /api/jobs/create", "createJob", "Make a job"),
        make("POST /api/jobs", "createJobToo", "Make a job, by its shorter name"),
        Operation(
            "POST /api/jobs/<job_id>/llm-call",
            "callModel",
            "jobs",
            "Call a model",
            about="The first call of a job holds credits until the job ends.",
            parameters=(given.JOB_ID, given.IDEMPOTENCY_KEY),
            body=CALL_BODY,
            answers={200: Answer("The whole answer", json(shapes.CallResult), CALL_HEADERS)},
            headers=BUDGET_HEADERS,
            refusals=CALLING,
            security=KEY,
        ),
        Operation(
            "POST /api/jobs/<job_id>/llm-call-stream",
            "streamModel",
            "jobs",
            "Call a model, and get its answer in chunks",
            about="It ends when its client leaves, unless there is `X-Stream-Resume` or an "
            "`Idempotency-Key`; what was generated is recorded. Sent again with `Last-Event-ID` it goes on.",
            parameters=(given.JOB_ID, given.IDEMPOTENCY_KEY, given.STREAM_RESUME, given.LAST_EVENT_ID),
            body=CALL_BODY,
            answers={
                200: Answer("OpenAI's chunks, and `[DONE]`", chunks, CALL_HEADERS),
                204: Answer("There is nothing after the last event"),
            },
            headers=BUDGET_HEADERS,
            refusals=(*CALLING, StreamExpired),
            security=KEY,
        ),
        Operation(
            "POST /api/jobs/<job_id>/complete",
            "endJob",
            "jobs",
            "End a job, and get its bill",
            about="Ending it again gives the same answer, and charges nothing. A failed job costs nothing.",
            parameters=(given.JOB_ID, given.JOB_IDEMPOTENCY_KEY),
            body=ref(wire.EndBody),
            body_required=False,
            answers={200: Answer("The bill", json(shapes.JobResult))},
            refusals=(*GUARDED, *READING, NotFound, IdempotencyMismatch),
            security=KEY,
        ),
        Operation(
            "POST /api/jobs/create-and-call",
            "createAndCall",
            "jobs",
            "Make a job, call a model, end the job",
            parameters=(given.IDEMPOTENCY_KEY,),
            body=WHOLE_JOB_BODY,
            answers={200: Answer("The answer and the bill", json(shapes.OneCallJob), CALL_HEADERS)},
            headers=BUDGET_HEADERS,
            refusals=CALLING,
            security=KEY,
        ),
        read("GET /api/jobs/<job_id>", "readJob", "Read a job", json(shapes.Job), given.JOB_ID),
        read(
            "GET /api/jobs/<job_id>/costs",
            "readCosts",
            "What it has cost",
            json(shapes.JobCosts),
            given.JOB_ID,
        ),
        Operation(
            "PATCH /api/jobs/<job_id>/metadata",
            "addMetadata",
            "jobs",
            "Merge metadata",
            parameters=(given.JOB_ID,),
            body=ref(wire.MetadataBody),
            answers={200: Answer("The job", json(shapes.Job))},
            refusals=(*GUARDED, *READING, NotFound),
            security=KEY,
        ),
        read(
            "GET /api/teams/<team_id>/jobs",
            "listJobs",
            "List a team's jobs",
            json(shapes.JobList),
            given.TEAM_ID,
            given.LIMIT,
            given.OFFSET,
            given.JOB_STATUS,
        ),
        read(
            "GET /api/teams/<team_id>/usage",
            "readUsage",
            "What a team used",
            json(shapes.TeamUsage),
            given.TEAM_ID,
            given.PERIOD,
        ),
        read(
            "GET /api/teams/<team_id>/usage/daily",
            "readDailyUsage",
            "What a team used, by day and model",
            json(shapes.DailyUsage),
            given.TEAM_ID,
            given.PERIOD,
            given.LIMIT,
            given.OFFSET,
        ),
        read(
            "GET /api/teams/<team_id>/credits",
            "readCredits",
            "How a team's credits moved",
            json(shapes.CreditLedger),
            given.TEAM_ID,
            given.LIMIT,
            given.OFFSET,
        ),
        read("GET /api/team", "readOwnTeam", "The team whose key this is", json(shapes.Team)),
    )


def managing() -> tuple[Operation, ...]:
    def row(
        route: str,
        name: str,
        summary: str,
        answer: Schema,
        *parameters: Schema,
        body: Schema | None = None,
        status: int = 200,
        refusals: Refusals = (NotFound,),
        body_required: bool = True,
    ) -> Operation:
        return Operation(
            route,
            name,
            "managing",
            summary,
            parameters=parameters,
            body=body,
            body_required=body_required,
            answers={status: Answer(summary, answer)},
            refusals=(*GUARDED, *refusals, *(READING if body else (InvalidRequest,))),
            security=ADMIN,
        )

    team, one_group = "/api/admin/teams/<team_id>", "/api/admin/model-groups/<name>"
    return (
        row(
            "POST /api/admin/teams", "createTeam", "Make a team, with its first key", json(shapes.NewTeam),
            body=ref(manage.TeamBody), status=201, refusals=(Conflict,),
        ),
        row(
            "GET /api/admin/teams", "listTeams", "List teams", json(shapes.TeamList), given.LIMIT,
            given.OFFSET, refusals=(),
        ),
        row(f"GET {team}", "readTeam", "Read a team", json(shapes.Team), given.TEAM_ID),
        row(
            f"PATCH {team}", "changeTeam", "Change a team", json(shapes.Team), given.TEAM_ID,
            body=ref(manage.TeamChanges),
        ),
        row(
            f"POST {team}/credits", "grantCredits", "Grant credits, or take back what is free of them",
            json(shapes.Balance), given.TEAM_ID, given.ONCE, body=ref(manage.GrantBody),
            refusals=(NotFound, IdempotencyMismatch),
        ),
        row(
            f"POST {team}/keys", "createKey", "Make a key", json(shapes.NewKey), given.TEAM_ID,
            body=ref(manage.KeyBody), body_required=False, status=201,
        ),
        row(
            f"GET {team}/keys", "listKeys", "List a team's keys", json(shapes.KeyList), given.TEAM_ID,
            given.LIMIT, given.OFFSET,
        ),
        row("DELETE /api/admin/keys/<key_id>", "revokeKey", "Revoke a key", json(shapes.Key), given.KEY_ID),
        row(
            "GET /api/admin/model-groups", "listModelGroups", "List model groups",
            json(shapes.ModelGroupList), refusals=(),
        ),
        row(
            f"PUT {one_group}", "putModelGroup", "Make a model group, or give it other members",
            json(shapes.ModelGroup), given.GROUP_NAME, body=ref(manage.GroupBody), refusals=(Conflict,),
        ),
        row(
            f"DELETE {one_group}", "deleteModelGroup", "Delete a model group",
            json(shapes.ModelGroupDeleted), given.GROUP_NAME, refusals=(NotFound, Conflict),
        ),
    )  # fmt: skip
