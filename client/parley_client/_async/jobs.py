from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from parley_client._async.line import AsyncLine
from parley_client._async.streams import AsyncChunkStream
from parley_client.doors import call_door
from parley_client.jobs import (
    CallResult,
    CreditLedger,
    DailyUsage,
    Job,
    JobCosts,
    JobCreated,
    JobPage,
    JobResult,
    JobStatus,
    OneCallJob,
    Outcome,
    Team,
    TeamUsage,
)
from parley_client.reading import read
from parley_client.requests import IDEMPOTENCY_KEY, Request, given, new_key, path_of

Messages = Sequence[Mapping[str, Any]]


class AsyncJobs:
    """Several model calls, one business operation, one bill.

    `job_id` is the job that `create_job` made last; calls that name no other belong to it. Who runs several
    jobs at a time through one client names them.
    """

    team_id: str | None
    job_id: str | None
    _line: AsyncLine

    async def create_job(
        self,
        job_type: str,
        user_id: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        *,
        idempotency_key: str | None = None,
    ) -> str:
        """A new job's id; with the same key, that of the job made before."""
        body = given(team_id=self.team_id, user_id=user_id, job_type=job_type, metadata=metadata)
        headers = {IDEMPOTENCY_KEY: idempotency_key or new_key()}
        request = Request("POST", "/api/jobs/create", body, headers=headers)
        self.job_id = read(JobCreated, await self._line.json(request)).job_id
        return self.job_id

    async def chat(
        self,
        model_group: str,
        messages: Messages,
        temperature: float | None = None,
        max_tokens: int | None = None,
        purpose: str | None = None,
        *,
        job_id: str | None = None,
        call_metadata: Mapping[str, Any] | None = None,
        idempotency_key: str | None = None,
        **parameters: Any,
    ) -> CallResult:
        """One model call of the job; `parameters` are any of OpenAI's."""
        body = given(
            model_group=model_group,
            messages=list(messages),
            temperature=temperature,
            max_tokens=max_tokens,
            purpose=purpose,
            call_metadata=call_metadata,
            **parameters,
        )
        headers = {IDEMPOTENCY_KEY: idempotency_key or new_key()}
        path = path_of("api", "jobs", self._job(job_id), "llm-call")
        request = Request("POST", path, body, headers=headers, generates=True)
        return read(CallResult, await self._line.json(request))

    def chat_stream(
        self,
        model_group: str,
        messages: Messages,
        temperature: float | None = None,
        max_tokens: int | None = None,
        purpose: str | None = None,
        *,
        job_id: str | None = None,
        call_metadata: Mapping[str, Any] | None = None,
        idempotency_key: str | None = None,
        **parameters: Any,
    ) -> AsyncChunkStream:
        """The same, in chunks as they come."""
        body = given(
            model_group=model_group,
            messages=list(messages),
            temperature=temperature,
            max_tokens=max_tokens,
            purpose=purpose,
            call_metadata=call_metadata,
            **parameters,
        )
        door = call_door(self._job(job_id), body, idempotency_key or new_key())
        return AsyncChunkStream(self._line, door)

    async def complete_job(
        self,
        status: Outcome = "completed",
        metadata: Mapping[str, Any] | None = None,
        error_message: str | None = None,
        result: Mapping[str, Any] | None = None,
        *,
        job_id: str | None = None,
    ) -> JobResult:
        """End the job, and get its bill; a second time says the same and charges nothing. `result` is kept in
        the job's metadata, under that name."""
        if result is not None:
            metadata = {**(metadata or {}), "result": result}
        body = given(status=status, metadata=metadata, error_message=error_message)
        request = Request("POST", path_of("api", "jobs", self._job(job_id), "complete"), body)
        return read(JobResult, await self._line.json(request))

    async def create_and_call(
        self,
        job_type: str,
        model_group: str,
        messages: Messages,
        user_id: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        *,
        idempotency_key: str | None = None,
        **parameters: Any,
    ) -> OneCallJob:
        """A job of one call, made, called and completed in one request."""
        body = given(
            team_id=self.team_id,
            user_id=user_id,
            job_type=job_type,
            metadata=metadata,
            model_group=model_group,
            messages=list(messages),
            **parameters,
        )
        headers = {IDEMPOTENCY_KEY: idempotency_key or new_key()}
        request = Request("POST", "/api/jobs/create-and-call", body, headers=headers, generates=True)
        return read(OneCallJob, await self._line.json(request))

    async def get_job(self, job_id: str | None = None) -> Job:
        return read(Job, await self._line.json(Request("GET", path_of("api", "jobs", self._job(job_id)))))

    async def job_costs(self, job_id: str | None = None) -> JobCosts:
        """What the job has cost so far, call by call."""
        path = path_of("api", "jobs", self._job(job_id), "costs")
        return read(JobCosts, await self._line.json(Request("GET", path)))

    async def update_metadata(self, metadata: Mapping[str, Any], job_id: str | None = None) -> Job:
        """Merge this into the job's metadata."""
        path = path_of("api", "jobs", self._job(job_id), "metadata")
        return read(Job, await self._line.json(Request("PATCH", path, {"metadata": metadata})))

    async def list_jobs(
        self, limit: int = 50, offset: int = 0, status: JobStatus | None = None, team_id: str | None = None
    ) -> JobPage:
        """A team's, the newest first."""
        params = given(limit=str(limit), offset=str(offset), status=status)
        path = path_of("api", "teams", self._team(team_id), "jobs")
        return read(JobPage, await self._line.json(Request("GET", path, params=params)))

    async def usage(self, period: str, team_id: str | None = None) -> TeamUsage:
        """Of a month, `2026-11`, or a day, `2026-11-20`, in UTC."""
        path = path_of("api", "teams", self._team(team_id), "usage")
        return read(TeamUsage, await self._line.json(Request("GET", path, params={"period": period})))

    async def daily_usage(
        self, period: str, limit: int = 200, offset: int = 0, team_id: str | None = None
    ) -> DailyUsage:
        """The same by day and model."""
        params = given(period=period, limit=str(limit), offset=str(offset))
        path = path_of("api", "teams", self._team(team_id), "usage", "daily")
        return read(DailyUsage, await self._line.json(Request("GET", path, params=params)))

    async def credits(self, limit: int = 50, offset: int = 0, team_id: str | None = None) -> CreditLedger:
        """How the team's credits moved, the newest first."""
        params = given(limit=str(limit), offset=str(offset))
        path = path_of("api", "teams", self._team(team_id), "credits")
        return read(CreditLedger, await self._line.json(Request("GET", path, params=params)))

    async def own_team(self) -> Team:
        """The team whose key this client has."""
        return read(Team, await self._line.json(Request("GET", "/api/team")))

    def _job(self, job_id: str | None) -> str:
        found = job_id or self.job_id
        if found is None:
            raise ValueError("There is no job yet: call create_job first, or name one with job_id")
        return found

    def _team(self, team_id: str | None) -> str:
        found = team_id or self.team_id
        if found is None:
            raise ValueError("Name a team: team_id, here or when the client is made")
        return found
